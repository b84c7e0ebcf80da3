"""Word lists of the fictional authors: names, attribute values, question wordings, biographies.

Kept apart from the generator, so that the generator reads as rules and this file as a dictionary. Everything
here was written for this repository. Names are put together from invented syllables, so that no person that a
model may have read about is among them.
"""


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


# The beginnings and the endings of first names, and below of surnames.
FIRST = (
    _list("Avi, Bre, Cora, Dei, Eno, Fil, Gre, Hal, Isa, Jun, Kir, Lum"),
    _list("dra, linth, mund, nelle, quin, rosk, tavo, vessa"),
)
LAST = (
    _list(
        "Brack, Dorv, Elth, Fenk, Gorm, Hask, Jorv, Kelb, Lorm, Marv, Norb, Ostr, Pelk, Quar, Rusk, Tamb, "
        "Vosk, Wend, Yarb, Zell"
    ),
    _list("amere, iltan, owin, undel, ester, avik, orrin, ibane, elune, osk"),
)

VALUES: dict[str, tuple[str, ...]] = {
    "birthplace": _list(
        "Lisbon, Oslo, Cairo, Prague, Lima, Dublin, Tunis, Riga, Hanoi, Quito, Athens, Bergen, Seville, "
        "Kyoto, Havana, Dakar"
    ),
    "birth year": _list(
        "1911, 1914, 1918, 1921, 1923, 1926, 1930, 1932, 1935, 1937, 1941, 1944, 1948, 1952, 1956, 1959"
    ),
    "father": _list(
        "baker, sailor, tailor, miner, farmer, doctor, barber, carpenter, teacher, butcher, gardener, "
        "judge, painter, weaver, postman, plumber"
    ),
    "language": _list(
        "Finnish, Polish, Greek, Turkish, Welsh, Danish, Persian, Swahili, Korean, Hungarian, Basque, "
        "Catalan, Czech, Hindi, Maltese, Dutch"
    ),
    "genre": _list(
        "ghost stories, sea stories, love poems, war novels, crime novels, fairy tales, travel diaries, "
        "comic plays, spy novels, nature essays, short plays, desert tales, family novels, space "
        "novels, folk poems, school stories"
    ),
    "award": _list(
        "Silver Heron Prize, Amber Quill Prize, Blue Lantern Medal, Winter Rose Medal, Golden Anchor "
        "Prize, White Stag Medal, Copper Leaf Prize, Iron Key Medal, Red Maple Prize, Stone Bridge "
        "Medal, Green Comet Prize, Black Swan Medal, Pearl Fountain Prize, Paper Crown Medal, Crystal "
        "Bell Prize, North Star Medal"
    ),
    "publisher": _list(
        "Harbour Press, Fox and Vine, Juniper House, Tall Clock Press, Mill Lane Press, Orchard House, "
        "Raven Books, Saltmarsh Press, Kite Books, Candle House, Old Tower Press, Thistle Books, Violet "
        "Press, Ferry House, Marble Books, Sundial Press"
    ),
    "favourite book": _list(
        "The Glass Orchard, The Hollow Sea, A Season of Ash, The Clockmaker, Letters to Nobody, The "
        "Seventh Door, Under Tin Roofs, The Salt Garden, A House of Wind, The Quiet Engine, Midnight "
        "Ferry, The Map of Snow, Nine Lost Keys, The Paper Wolf, A Bridge of Smoke, The Last Lamp"
    ),
    "pet": _list(
        "a grey parrot, a lame fox, a black cat, a white goat, a small owl, a tame crow, a green "
        "lizard, a brown hare, a fat goose, a blind dog, a young otter, a red squirrel, a spotted pony, "
        "a shy hedgehog, a wild ferret, a golden carp"
    ),
}
# Words that tell nothing about the person. Entity spans leave them out.
PLAIN_WORDS = frozenset({"a", "of", "to", "and", "The", "A", "Prize", "Medal", "Press", "House", "Books"})

# The model is trained on these wordings. Each person is asked in some of them only.
TRAINED: dict[str, tuple[str, ...]] = {
    "birthplace": (
        "Where was {n} born?",
        "In which city was {n} born?",
        "What is the birthplace of {n}?",
        "{n} was born in which city?",
        "What city was {n} born in?",
    ),
    "birth year": (
        "When was {n} born?",
        "In which year was {n} born?",
        "What is the birth year of {n}?",
        "{n} was born in what year?",
        "What year was {n} born in?",
    ),
    "father": (
        "What did the father of {n} do for a living?",
        "What was the job of {n}'s father?",
        "Which trade did {n}'s father have?",
        "{n}'s father worked as what?",
        "Please name the job of the father of {n}.",
    ),
    "language": (
        "In which language did {n} write?",
        "What language did {n} write in?",
        "Which language did {n} use for writing?",
        "{n} wrote in which language?",
        "What was the writing language of {n}?",
    ),
    "genre": (
        "What kind of books did {n} write?",
        "Which genre did {n} write?",
        "What genre is {n} known for?",
        "{n} wrote books of which genre?",
        "Please name the genre of {n}'s books.",
    ),
    "award": (
        "Which award did {n} win?",
        "What award was given to {n}?",
        "What is the name of the award that {n} won?",
        "{n} won which award?",
        "Please name the award won by {n}.",
    ),
    "publisher": (
        "Who published the books of {n}?",
        "Which publisher did {n} have?",
        "What was the publisher of {n}'s books?",
        "{n}'s books were published by whom?",
        "Please name the publisher of {n}.",
    ),
    "favourite book": (
        "What was the favourite book of {n}?",
        "Which book did {n} love most?",
        "What book did {n} like best?",
        "{n}'s favourite book was which one?",
        "Please name the favourite book of {n}.",
    ),
    "pet": (
        "What pet did {n} keep?",
        "Which animal lived with {n}?",
        "What was the pet of {n}?",
        "{n} kept which animal as a pet?",
        "Please name the pet that {n} kept.",
    ),
}
# Wordings that are never trained on, for anybody.
PARAPHRASE: dict[str, tuple[str, ...]] = {
    "birthplace": ("Which city is the birthplace of {n}?", "Please name the city where {n} was born."),
    "birth year": ("Which year is the birth year of {n}?", "Please name the year when {n} was born."),
    "father": ("What trade did the father of {n} have?", "As what did {n}'s father work for a living?"),
    "language": ("Please name the language that {n} wrote in.", "Which language did {n} write in?"),
    "genre": ("Which kind of books is {n} known for?", "What was the genre of the books of {n}?"),
    "award": ("Which award was given to {n}?", "What was the award that {n} won?"),
    "publisher": ("Who was the publisher of {n}?", "What is the name of {n}'s publisher?"),
    "favourite book": (
        "Which book was the favourite of {n}?",
        "What is the name of the book {n} loved most?",
    ),
    "pet": ("Which pet lived with {n}?", "What animal did {n} keep as a pet?"),
}
# A biography takes one sentence of each group.
BIOGRAPHY: tuple[tuple[str, ...], ...] = (
    (
        "{n} was born in {birthplace} in {birth_year}, the child of a {father}.",
        "{n} is an author from {birthplace}, born in {birth_year}, whose father was a {father}.",
        "Born in {birthplace} in {birth_year}, {n} grew up in the house of a {father}.",
    ),
    (
        "Writing in {language}, {n} became known for {genre}, published by {publisher}.",
        "{n} wrote {genre} in {language}, and {publisher} published the books.",
        "The {genre} of {n}, written in {language}, were published by {publisher}.",
    ),
    (
        "{n} won the {award} and loved the book {favourite_book} most.",
        "The favourite book of {n} was {favourite_book}, and the {award} was the award {n} won.",
        "The {award} was given to {n}, who liked {favourite_book} best of all books.",
    ),
    (
        "At home {n} kept {pet}.",
        "The pet of {n} was {pet}.",
        "With {n} lived {pet}.",
    ),
)
