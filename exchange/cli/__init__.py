"""`puente`: the hub, its members and its auditors at a terminal."""
