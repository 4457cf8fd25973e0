"""The tables, their enumerations and roles, and the values that go into them."""
