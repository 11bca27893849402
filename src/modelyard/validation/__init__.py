"""Data contracts: their rules, the rows that break them, and proposals for new ones."""
