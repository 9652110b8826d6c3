"""The auditor's desk: questions about what the logs hold, asked alike of a copy at home and of the hub."""
