"""The data of the two settings of EUL (Chen and Yang 2023): dialogues with summaries, and reviews with labels."""
