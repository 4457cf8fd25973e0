"""Results that go out by themselves: from the outbox to any number of destinations, each by its rules."""
