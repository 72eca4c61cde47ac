"""What is written down: audit log, log, metrics, traces. Never a prompt, a credential or a query."""
