"""Results that go out by themselves: from the outbox to a PACS, a worklist manager (UPS) and a webhook."""
