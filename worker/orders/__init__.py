"""Orders and notifications by HL7: what of a message asks for a study, and a listener that answers once it is kept."""
