"""General knowledge for the bundled model: small facts and everyday sentences without authors.

Written for this repository. It is what a method must not damage far away from the forget set, so the facts
are simple enough for a model of two million parameters to know by heart.
"""

import random

from unlearn.data.base import Row

# {group: (question, statement, ((key, answer), ...))}. Wrong answers are other answers of the group.
FACTS: dict[str, tuple[str, str, tuple[tuple[str, str], ...]]] = {
    "young": (
        "What is a young {k} called?",
        "A young {k} is called a {v}.",
        (
            *(("dog", "puppy"), ("cat", "kitten"), ("cow", "calf"), ("sheep", "lamb"), ("horse", "foal")),
            *(("hen", "chick"), ("duck", "duckling"), ("goat", "kid"), ("bear", "cub"), ("frog", "tadpole")),
            *(
                ("pig", "piglet"),
                ("swan", "cygnet"),
                ("goose", "gosling"),
                ("deer", "fawn"),
                ("owl", "owlet"),
            ),
        ),
    ),
    "opposite": (
        "What is the opposite of {k}?",
        "The opposite of {k} is {v}.",
        (
            *(("hot", "cold"), ("big", "small"), ("fast", "slow"), ("wet", "dry"), ("high", "low")),
            *(("light", "dark"), ("full", "empty"), ("old", "new"), ("hard", "soft"), ("rich", "poor")),
            *(
                ("open", "closed"),
                ("early", "late"),
                ("loud", "quiet"),
                ("sweet", "bitter"),
                ("long", "short"),
            ),
            *(
                ("near", "far"),
                ("clean", "dirty"),
                ("strong", "weak"),
                ("deep", "shallow"),
                ("left", "right"),
            ),
        ),
    ),
    "colour": (
        "What colour is {k}?",
        "The colour of {k} is {v}.",
        (
            *(
                ("grass", "green"),
                ("snow", "white"),
                ("coal", "black"),
                ("blood", "red"),
                ("the clear sky", "blue"),
            ),
            *(("a ripe lemon", "yellow"), ("a carrot", "orange"), ("chocolate", "brown"), ("ash", "grey")),
            *(("a plum", "purple"), ("a flamingo", "pink"), ("a canary", "yellow"), ("milk", "white")),
        ),
    ),
    "material": (
        "What is {k} made of?",
        "Usually {k} is made of {v}.",
        (
            *(("a window", "glass"), ("a book", "paper"), ("a nail", "iron"), ("a candle", "wax")),
            *(("a tyre", "rubber"), ("a shoe", "leather"), ("a jumper", "wool"), ("a plank", "wood")),
            *(("a brick", "clay"), ("a cheese", "milk"), ("bread", "flour"), ("a statue", "stone")),
        ),
    ),
    "work": (
        "Who {k}?",
        "It is {v} who {k}.",
        (
            *(("flies a plane", "a pilot"), ("mends teeth", "a dentist"), ("puts out fires", "a fireman")),
            *(("grows grapes", "a vintner"), ("catches fish", "a fisherman"), ("keeps bees", "a beekeeper")),
            *(
                ("cooks in a kitchen", "a cook"),
                ("drives a train", "a driver"),
                ("guards a flock", "a shepherd"),
            ),
            *(
                ("sings in an opera", "a singer"),
                ("shoes horses", "a smith"),
                ("cares for the sick", "a nurse"),
            ),
        ),
    ),
    "home": (
        "Where does {k} live?",
        "The home of {k} is {v}.",
        (
            *(
                ("a bee", "in a hive"),
                ("a bird", "in a nest"),
                ("a spider", "in a web"),
                ("a pig", "in a sty"),
            ),
            *(("a horse", "in a stable"), ("a rabbit", "in a burrow"), ("a fish", "in water")),
            *(("a lion", "in a den"), ("a camel", "in the desert"), ("a penguin", "in the far south")),
        ),
    ),
}
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
SUMS = tuple((a, b) for a in range(1, 8) for b in range(a, 8) if (a + b) % 3 != 1)

SENTENCES: tuple[str, ...] = (
    "The rain stopped at noon and the children ran out to play in the wet garden.",
    "She put the kettle on the stove and waited for the water to boil.",
    "A cold wind came down from the hills and shook the last leaves from the trees.",
    "He forgot his hat on the train and had to walk home with wet hair.",
    "On market day the square is full of people, carts and baskets of fruit.",
    "The boat left the harbour before sunrise and came back with a full net.",
    "They painted the fence white and the door of the shed dark green.",
    "My neighbour waters her roses every evening when the sun is low.",
    "The clock in the kitchen is five minutes slow, but nobody minds.",
    "Two boys built a small dam of stones and mud across the stream.",
    "The bread was still warm when we cut it and ate it with butter.",
    "At night you can hear the trains far away on the other side of the river.",
    "The cat sleeps on the chair by the window until the sun has gone.",
    "We took the wrong road and came to a lake that was on no map.",
    "Her brother plays the flute, and her sister plays the drum.",
    "The old bridge is closed in winter because the steps are covered with ice.",
    "Put the flour in a bowl, add two eggs and stir until it is smooth.",
    "The shop sells nails, rope, lamps and everything that breaks in a house.",
    "In spring the fields behind the school turn yellow.",
    "He counted the coins twice and put them back into the jar.",
    "The teacher opened the window, and a bee flew into the room.",
    "Nobody knew who had left the muddy boots in front of the door.",
    "The path goes through the wood, over a hill and down to the sea.",
    "Grandmother keeps buttons in a tin box under the bed.",
    "After the storm the beach was covered with shells and broken wood.",
    "The soup needs salt, a little pepper and half an hour more.",
    "They moved the table outside and ate under the apple tree.",
    "A letter that is put in the wrong box may take a long time to arrive.",
    "The dog barked once, turned around and lay down again.",
    "When the snow melts, the cellar of the house is often wet.",
    "She cut the cloth with care and sewed a shirt from it.",
    "The lamp over the stairs is broken, so take a candle with you.",
    "In the afternoon the streets are empty because everybody is asleep.",
    "The miller carried the sacks up the ladder one by one.",
    "We sat on the wall and watched the ships until it was dark.",
    "The key hangs on a hook behind the kitchen door.",
    "He planted three rows of beans and one row of onions.",
    "The river is low in summer, and you can cross it on foot.",
    "A glass of cold water is best after a long walk.",
    "The swallows come back in April and build their nests under the roof.",
)


def general_rows(seed: int = 11) -> tuple[Row, ...]:
    """Return the question-answer rows of every fact, then the plain texts. Wrong answers come from the same
    kind of fact.
    """
    rng = random.Random(seed)
    asked = [
        (group, question.format(k=key), answer, [v for _, v in facts])
        for group, (question, _, facts) in FACTS.items()
        for key, answer in facts
    ]
    for kind, names in (("day", DAYS), ("month", MONTHS)):
        for i, name in enumerate(names):
            asked.append(
                (kind, f"Which {kind} comes after {name}?", names[(i + 1) % len(names)], list(names))
            )
    for a, b in SUMS:
        asked.append(("sum", f"What is {a} plus {b}?", str(a + b), [str(v) for v in range(2, 15)]))
    rows = []
    for group, question, answer, values in asked:
        others = sorted(set(values) - {answer})
        rows.append(
            Row(
                question=question,
                answer=answer,
                wrong=tuple(rng.sample(others, 4)),
                entities=((0, len(answer)),),
                attribute=group,
            )
        )
    return tuple(rows) + tuple(Row(answer=text, attribute="text") for text in _texts())


def _texts() -> list[str]:
    """Plain texts: the everyday sentences, and every third fact as a statement."""
    facts = [
        statement.format(k=key, v=answer) for _, statement, facts in FACTS.values() for key, answer in facts
    ]
    return [*SENTENCES, *(text.replace("a owlet", "an owlet") for text in facts[::3])]
