"""GPT, GPT-2 and CPM."""
