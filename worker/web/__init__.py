"""The worklist page: a server that shows the worklist and its studies to people who signed in, and changes nothing."""
