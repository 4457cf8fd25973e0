"""Public data sets into manifests, a module a layout. None of them is shipped, fetched or endorsed."""
