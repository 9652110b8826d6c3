"""HTTP itself, once: routes and their guard, who calls, how fast, and how a refusal is told."""
