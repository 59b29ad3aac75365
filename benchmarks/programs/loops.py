"""Programs that look into the loop: limits, checks, callbacks, plans, streams, steps by hand, conversation."""

from __future__ import annotations

import threading
import time
from typing import Any

from scripted import actions, code, images_in, kinds, prepared, quiet, raised, streaming, text_of


def max_steps_reached(lib: Any) -> Any:
    """The steps run out: the model is asked once more for the best answer, the error is on the last step."""
    model = prepared(lib, code("x = 1"), code("x += 1"), "The best guess is 2.")
    agent = lib.CodeAgent(tools=[], model=model, max_steps=2, return_full_result=True, **quiet(lib))
    result = agent.run("Count for ever.")
    return {
        "answer": result.output,
        "state": result.state,
        "requests": len(model.requests),
        "error": type(actions(lib, agent.memory)[-1].error).__name__,
        "last step": type(agent.memory.steps[-1]).__name__,
    }


def max_steps_of_one_run(lib: Any) -> Any:
    """`run(max_steps=1)` holds for that run only."""
    model = prepared(lib, code("x = 1"), "so far", code("y = 1"), code("final_answer(2)"))
    agent = lib.CodeAgent(tools=[], model=model, max_steps=3, **quiet(lib))
    return [agent.run("Go.", max_steps=1), agent.run("Go."), agent.max_steps]


def parsing_error_recovery(lib: Any) -> Any:
    """A reply without code is answered by an error that the model reads; it does better then."""
    model = prepared(lib, "I think the answer is 4.", code("final_answer(4)"))
    agent = lib.CodeAgent(tools=[], model=model, **quiet(lib))
    answer = agent.run("2 + 2?")
    first = actions(lib, agent.memory)[0]
    return {
        "answer": answer,
        "error": type(first.error).__name__,
        "code": first.code_action,
        "read by the model": "code" in text_of(model.requests[1][-1]),
        "steps": agent.step_number,
    }


def syntax_error_recovery(lib: Any) -> Any:
    """Code that is no Python is a step with an error, like code that raises."""
    model = prepared(lib, code("x = ("), code("1 / 0"), code("final_answer('done')"))
    agent = lib.CodeAgent(tools=[], model=model, **quiet(lib))
    answer = agent.run("Go.")
    steps = actions(lib, agent.memory)
    return {
        "answer": answer,
        "runtime error": type(steps[1].error).__name__,
        "syntax error is one": steps[0].error is not None,
        "names it": "ZeroDivisionError" in text_of(model.requests[2][-1]),
    }


def tool_that_raises(lib: Any) -> Any:
    """A tool's exception is read by the model, and an action may catch it."""

    @lib.tool
    def fragile(value: int) -> int:
        """Doubles small numbers.

        Args:
            value: A small number.
        """
        if value > 3:
            raise ValueError(f"{value} is too big")
        return value * 2

    catching = "try:\n    fragile(9)\nexcept ValueError as error:\n    caught = str(error)\nfinal_answer(caught)"
    model = prepared(lib, code("fragile(5)"), code(catching))
    agent = lib.CodeAgent(tools=[fragile], model=model, **quiet(lib))
    answer = agent.run("Double.")
    return {"caught": "9 is too big" in answer, "read by the model": "5 is too big" in text_of(model.requests[1][-1])}


def model_that_fails(lib: Any) -> Any:
    """An exception of the model ends the run as a generation error."""
    agent = lib.CodeAgent(tools=[], model=prepared(lib, RuntimeError("no key")), **quiet(lib))
    return raised(lib, lambda: agent.run("Go."))


def final_answer_checks(lib: Any) -> Any:
    """Checks get the answer, the memory and the agent; the reason of a refusal is an error of that step."""
    seen = []

    def is_even(final_answer, agent_memory, agent=None):
        seen.append([type(agent_memory).__name__, agent is not None, final_answer])
        return final_answer % 2 == 0

    def is_small(answer, memory, agent):
        if answer > 10:
            raise ValueError("larger than ten")
        return True

    model = prepared(lib, code("final_answer(3)"), code("final_answer(12)"), code("final_answer(4)"))
    agent = lib.CodeAgent(tools=[], model=model, final_answer_checks=[is_even, is_small], **quiet(lib))
    answer = agent.run("An even number up to ten.")
    steps = actions(lib, agent.memory)
    return {
        "answer": answer,
        "checked": [each[1:] for each in seen],
        "memory": seen[0][0],
        "errors": [step.error is not None for step in steps],
        "names the check": "is_even" in steps[0].error.message,
        "names the reason": "larger than ten" in steps[1].error.message,
        "read by the model": "is_even" in text_of(model.requests[1][-1]),
    }


def checks_with_two_parameters(lib: Any) -> Any:
    """A check of the older form, without the agent."""
    agent = lib.CodeAgent(
        tools=[],
        model=prepared(lib, code("final_answer('abc')"), "gave up"),
        final_answer_checks=[lambda answer, memory: len(answer) == 3],
        max_steps=1,
        **quiet(lib),
    )
    answer = agent.run("Go.")
    return {"answer": answer, "error": type(actions(lib, agent.memory)[0].error).__name__}


def step_callbacks(lib: Any) -> Any:
    """Callbacks for action steps as a list, with and without the agent."""
    seen = []

    def with_agent(memory_step, agent):
        seen.append(["with", type(memory_step).__name__, agent.step_number])

    def without(step):
        seen.append(["without", type(step).__name__, step.step_number])

    model = prepared(lib, code("x = 1"), code("final_answer(x)"))
    agent = lib.CodeAgent(tools=[], model=model, step_callbacks=[with_agent, without], **quiet(lib))
    agent.run("Go.")
    return seen


def step_callbacks_by_class(lib: Any) -> Any:
    """Callbacks by the class of the step, singly or as a list; a base class stands for all."""
    seen = []
    note = lambda name: lambda step, agent=None: seen.append([name, type(step).__name__])  # noqa: E731
    agent = lib.CodeAgent(
        tools=[],
        model=prepared(lib, "1. Do it.", code("final_answer(1)")),
        planning_interval=3,
        step_callbacks={
            lib.ActionStep: [note("action one"), note("action two")],
            lib.PlanningStep: note("plan"),
            lib.FinalAnswerStep: note("answer"),
            lib.MemoryStep: note("any"),
        },
        **quiet(lib),
    )
    agent.run("Go.")
    return sorted(seen)


def callback_drops_images(lib: Any) -> Any:
    """Screenshots: a callback adds an image to each step and drops those of earlier steps."""
    from PIL import Image

    def screenshot(memory_step, agent):
        for earlier in agent.memory.steps:
            if isinstance(earlier, lib.ActionStep) and earlier.step_number <= memory_step.step_number - 1:
                earlier.observations_images = None
        memory_step.observations_images = [Image.new("RGB", (4, 4))]
        memory_step.observations = (memory_step.observations or "") + "\nCurrent url: example.org"

    model = prepared(lib, code("x = 1"), code("x = 2"), code("final_answer(x)"))
    agent = lib.CodeAgent(tools=[], model=model, step_callbacks=[screenshot], **quiet(lib))
    answer = agent.run("Browse.")
    return {
        "answer": answer,
        "images in the requests": [images_in(request) for request in model.requests],
        "observation": "example.org" in "\n".join(text_of(message) for message in model.requests[2]),
    }


def interrupt_from_a_callback(lib: Any) -> Any:
    """`agent.interrupt()` in a callback ends the run after that step."""

    def stop(memory_step, agent):
        if memory_step.step_number == 2:
            agent.interrupt()

    model = prepared(lib, *[code(f"x = {number}") for number in range(5)])
    agent = lib.CodeAgent(tools=[], model=model, step_callbacks=[stop], **quiet(lib))
    error = raised(lib, lambda: agent.run("Go."))
    return {"raised": error, "requests": len(model.requests), "kept": kinds(agent.memory)}


def plan_customisation(lib: Any) -> Any:
    """A plan is reviewed: the callback edits it and interrupts; `run(reset=False)` goes on with what is there."""
    rounds = []

    def review(memory_step, agent):
        rounds.append(memory_step.plan.strip().splitlines()[-1])
        memory_step.plan = "1. Ask Ada.\n2. Answer."
        if len(rounds) == 1:
            agent.interrupt()

    work = iter([code("who = 'Ada'"), code("who = 'Ada Lovelace'"), code("final_answer(who)")])
    reply = lambda messages: "1. Guess." if "[[plan]]" in text_of(messages[-1]) else next(work)  # noqa: E731
    model = prepared(lib, *[reply] * 9)
    agent = lib.CodeAgent(
        tools=[], model=model, planning_interval=5, max_steps=5, step_callbacks={lib.PlanningStep: review}, **quiet(lib)
    )
    planning = agent.prompt_templates["planning"]
    planning["initial_plan"] = "Plan this: {{task}} [[plan]]"
    planning["update_plan_post_messages"] = "Plan the rest. [[plan]]"
    first = raised(lib, lambda: agent.run("Who knows?"))
    kept = [kind for kind in kinds(agent.memory) if kind != "ActionStep"]
    answer = agent.run("Who knows now?", reset=False)
    read = "\n".join(text_of(message) for message in model.requests[-1])
    return {
        "first run": first,
        "kept": kept,
        "answer": answer[:3],
        "plans": len(rounds),
        "edited plan read by the model": "Ask Ada" in read,
        "both tasks read by the model": "Who knows?" in read and "Who knows now?" in read,
    }


def planning_interval(lib: Any) -> Any:
    """Plans before the first step and after every second one; requests for plans have no code in them."""
    replies = ["first plan", code("x = 1"), code("x = 2"), "second plan", code("x = 3"), code("final_answer(x)")]
    model = prepared(lib, *replies)
    agent = lib.CodeAgent(tools=[], model=model, planning_interval=2, **quiet(lib))
    answer = agent.run("Count to three.")
    plans = [step for step in agent.memory.steps if isinstance(step, lib.PlanningStep)]
    return {
        "answer": answer,
        "steps": kinds(agent.memory),
        "plans": ["first plan" in plans[0].plan, "second plan" in plans[1].plan],
        "tokens of a plan": [plan.token_usage.dict()["input_tokens"] for plan in plans],
        "task in the request": "Count to three." in "\n".join(text_of(message) for message in model.requests[0]),
    }


def stream_of_steps(lib: Any) -> Any:
    """`run(stream=True)` yields 1.26's types in order; the last one is the final answer."""
    model = prepared(lib, "the plan", code("x = 1\nx"), code("final_answer(x)"))
    agent = lib.CodeAgent(tools=[], model=model, planning_interval=5, **quiet(lib))
    events = list(agent.run("Go.", stream=True))
    return {
        "types": [type(event).__name__ for event in events],
        "answer": events[-1].output,
        "outputs": [
            [event.output, event.is_final_answer] for event in events if type(event).__name__ == "ActionOutput"
        ],
        "call": next(event.name for event in events if isinstance(event, lib.ToolCall)),
    }


def stream_of_deltas(lib: Any) -> Any:
    """With `stream_outputs=True` the pieces of a reply come first; together they are the reply."""
    model = streaming(lib, code("final_answer(1)", thought="One\nTwo"))
    agent = lib.CodeAgent(tools=[], model=model, stream_outputs=True, **quiet(lib))
    events = list(agent.run("Go.", stream=True))
    names = [type(event).__name__ for event in events]
    deltas = [event.content or "" for event in events if isinstance(event, lib.ChatMessageStreamDelta)]
    return {
        "first": names[0],
        "order": [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name],
        "text": "".join(deltas).replace("</code>", "").strip(),
        "usage": agent.memory.steps[1].token_usage.dict()["output_tokens"],
    }


def stream_needs_a_streaming_model(lib: Any) -> Any:
    """`stream_outputs=True` with a model that cannot stream is refused when the agent is made."""
    return raised(lib, lambda: lib.CodeAgent(tools=[], model=prepared(lib), stream_outputs=True, **quiet(lib)))


def steps_by_hand(lib: Any) -> Any:
    """The user's own loop around `agent.step(ActionStep(...))`."""
    model = prepared(lib, code("x = 20"), code("print(x)"), code("final_answer(x + 1)"))
    agent = lib.CodeAgent(tools=[], model=model, **quiet(lib))
    agent.python_executor.send_tools({**agent.tools})
    agent.memory.steps.append(lib.TaskStep(task="What is x?", task_images=[]))
    outputs, observed = [], []
    while not outputs or not outputs[-1].is_final_answer:
        step = lib.ActionStep(
            step_number=len(outputs) + 1, observations_images=[], timing=lib.Timing(start_time=time.time())
        )
        outputs.append(agent.step(step))
        agent.memory.steps.append(step)
        observed.append("20" in (step.observations or ""))
    return {
        "types": [type(output).__name__ for output in outputs],
        "answer": outputs[-1].output,
        "steps": kinds(agent.memory),
        "observed": observed,
    }


def conversation(lib: Any) -> Any:
    """`reset=False` keeps the conversation and the variables; a further run without it starts anew."""
    model = prepared(
        lib, code("number = 41\nfinal_answer(number)"), code("final_answer(number + 1)"), code("final_answer('new')")
    )
    agent = lib.CodeAgent(tools=[], model=model, **quiet(lib))
    first = agent.run("A number.")
    second = agent.run("And the next?", reset=False)
    both = "\n".join(text_of(message) for message in model.requests[1])
    third = agent.run("Again.")
    alone = "\n".join(text_of(message) for message in model.requests[2])
    return {
        "answers": [first, second, third],
        "second reads the first": "A number." in both and "And the next?" in both,
        "third reads the first": "A number." in alone,
        "steps": kinds(agent.memory),
    }


def agent_is_callable(lib: Any) -> Any:
    """`agent(task)` gives the report that a manager would get: text with the answer in it."""
    report = lib.CodeAgent(tools=[], model=prepared(lib, code("final_answer(5)")), **quiet(lib))("Go.")
    return [type(report).__name__, "5" in str(report)]


def runs_in_threads(lib: Any) -> Any:
    """Two agents work at once in two threads."""
    answers: dict[str, Any] = {}

    def work(name: str) -> None:
        model = prepared(lib, code(f"me = {name!r}"), code("final_answer(me * 2)"))
        answers[name] = lib.CodeAgent(tools=[], model=model, **quiet(lib)).run("Go.")

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def best_answer_by_hand(lib: Any) -> Any:
    """`provide_final_answer(task)` asks for an answer from what is in the memory; a summary leaves thoughts out."""
    model = prepared(
        lib, code("print('the clue')", thought="A long thought."), code("final_answer(1)"), "the best answer"
    )
    agent = lib.CodeAgent(tools=[], model=model, **quiet(lib))
    agent.run("Find it.")
    message = agent.provide_final_answer("Find it.")
    asked = "\n".join(text_of(each) for each in model.requests[-1])
    summary = "\n".join(text_of(each) for each in agent.write_memory_to_messages(summary_mode=True))
    return {
        "answer": text_of(message),
        "asked": ["the clue" in asked, "Find it." in asked],
        "summary": ["the clue" in summary, "A long thought." in summary, "Find it." in summary],
    }


def run_after_a_failure(lib: Any) -> Any:
    """An agent whose run failed is used again."""
    model = prepared(lib, RuntimeError("busy"), code("final_answer('well')"))
    agent = lib.CodeAgent(tools=[], model=model, **quiet(lib))
    return [raised(lib, lambda: agent.run("Go.")), agent.run("Go again.")]


def stream_left_half_way(lib: Any) -> Any:
    """A stream that is not read to its end; then the agent is used again."""
    model = prepared(lib, code("x = 1"), code("final_answer('second run')"))
    agent = lib.CodeAgent(tools=[], model=model, **quiet(lib))
    events = agent.run("Go.", stream=True)
    for event in events:
        if isinstance(event, lib.ActionStep):
            break
    return [type(event).__name__, agent.run("Go again.")]
