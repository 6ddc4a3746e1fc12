"""How far a model that bertfast runs is from stock transformers, on texts: measured, by output and by length."""
