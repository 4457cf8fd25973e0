"""What goes out by itself: the results of studies, delivered from the outbox to PACS, worklist manager and webhook."""
