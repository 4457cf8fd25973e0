"""What goes out of a study as a document: values in, documents out; nothing here sends anything."""
