"""States of a model's blocks: what holds for the passes of a training that somebody else ends."""

import contextvars

from unlearn.compute import states


def test_a_training_that_another_thread_ends_leaves_no_error_behind():
    def training():
        with states.to_the_end():
            yield

    steps = training()
    contextvars.copy_context().run(next, steps)
    steps.close()
    assert states._to_the_end.get() is False
