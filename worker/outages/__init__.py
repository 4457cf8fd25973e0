"""What is away for now: how it is recognized, what a person is told of it, and waiting until it is back."""
