"""The tamper-evident log: RFC 6962 trees, C2SP notes, one sequencer, a witness in each country."""
