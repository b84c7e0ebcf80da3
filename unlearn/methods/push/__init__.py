"""The methods that push the forget texts away: their loss rises, with or without a bound."""
