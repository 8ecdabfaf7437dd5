"""The parts put together: a model that is trained; and models made of names and options."""
