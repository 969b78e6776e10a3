"""The durable steps that the flows are made of: one side effect each, safe to repeat."""
