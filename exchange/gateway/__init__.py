"""The national gateway: a member that gives what operators may not be named for a form without their names."""
