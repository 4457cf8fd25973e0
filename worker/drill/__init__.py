"""The drill: safe faults, done to a site's staging servers with phantoms, that say what each promise rests on there."""
