"""UPS in the performer's role (IHE AIW-I): work items of a manager claimed, scored and ended."""
