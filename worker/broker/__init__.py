"""Redis and Celery: what a message may say, how it leaves its queue, and how it comes back when its worker dies."""
