"""Results as a report: a page that opens from disk, the same as Markdown, figures and tables."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from ppo_vs_grpo.benchmarks import costfigures, figures, probefigures, probetables, tables, theoryfigure
from ppo_vs_grpo.benchmarks.attribution import attribution
from ppo_vs_grpo.benchmarks.frames import Results
from ppo_vs_grpo.tasks.errors import UserError

TEMPLATES = Path(__file__).parent / "templates"
TERMINAL = {
    **{"task": "task", "arm": "arm", "n": "n", "start": "start", "final": "final mean", "seed_sd": "seed sd"},
    **{"seconds_per_1000": "s per 1,000 completions", "peak_memory_mb": "peak memory MB", "note": "note"},
}
"""Columns of the summary, and what the terminal and the report call them."""

TABLES = {
    "summary": ("Summary", "Means over the seeds of each arm on each task."),
    "final_scores": (
        "Final scores",
        "Each training run: held-out pass rate at its start and end, area under the curve.",
    ),
    "attribution": (
        "Baseline or everything else",
        "Differences of the final held-out pass rate with 95% t intervals over paired seeds, and their equal-weight "
        "mean over tasks. Baseline: the group's mean instead of the learned value; everything else: GRPO's details "
        "instead of PPO's; each is averaged over the other, and the two add up to the total, GRPO less PPO. The "
        "interaction is the baseline's effect under GRPO's details less that under PPO's.",
    ),
    "gradient_noise": (
        "Gradient noise",
        "On one frozen policy, the same prompts and completions for every estimator. Noise scale: prompt groups "
        "for which noise and signal are equal; less is better. Prompts' share: the part of the noise that comes "
        "with the choice of prompts, the rest with that of completions. Cosine: to leave-one-out REINFORCE on other "
        "and more prompts; more is better. `own` is the arm itself. The raw variance is not shown: it scales with the"
        " square of the advantages.",
    ),
    "baselines": (
        "Baselines",
        "The share of the reward's variance that each baseline leaves, measured with fresh continuations; 1 is what no "
        "baseline leaves, and `monte_carlo` what the best one would.",
    ),
    "critic": (
        "Critic",
        "Against fresh continuations from held-out prompts and from inside completions, corrected for their "
        "noise. A critic that knows nothing has an explained variance of 0 or less, the true V one of 1. "
        "Break-even G: the group size from which the mean of the others is nearer to the prompt's true value than"
        " the critic; a dash: none.",
    ),
    "ranking": (
        "Does the policy rank answers",
        "Agreement of log-probability and reward among the different completions of a prompt, a mean over groups. tau: "
        "Kendall's tau-b, 0 is chance; auc: the chance that the better of two is the likelier, 0.5 is chance. `start` "
        "is a fixed set, sampled from the start model; `sampled` the policy's own of that moment.",
    ),
    "memory_by_role": (
        "Memory by role",
        "MB (10^6 bytes) that a role held when the phase held most, seen tensor by tensor in an update of its own "
        "half-way; `total` is the whole update, where roles add up to its peak. Alone: the most that the role held at "
        "any time in the phase. Predicted: the same update on tensors without memory, every prompt and completion at "
        "full length.",
    ),
    "operations": (
        "Operations",
        "10^6 floating-point operations for a completion of the budget, by phase: matrix products and attention, "
        "counted in an update of its own at each moment, and the critic's part of them.",
    ),
    "variance": (
        "Variance",
        "Training metrics in the first and last tenth of the updates and over all of them. Step noise scale: the "
        "gradient noise of the arm's own steps, from their two halves, in prompts; a dash where halves cost a pass.",
    ),
    "memory": ("Memory", "Peak MB (10^6 bytes) by phase."),
    "seconds": ("Seconds", "Seconds per 1,000 completions by phase, warm-up updates left out."),
    "configuration_differing": ("Where the arms differ", "Generated from the specs of the runs."),
    "configuration_shared": ("What the arms share", "Generated from the specs of the runs."),
    "unfinished": ("Failed, diverged and missing runs", "They count in no mean above."),
    "environment": ("Environment", "Versions, hardware and load of the runs."),
}
"""Each table's title and what it says, by the stem of its CSV file."""

READING = (
    "Thin lines are seeds, bold ones means over them, the dotted one the level of the start; a silent group is one "
    "whose rewards are all equal; bars count from 0."
)
ATTRIBUTION = (
    "What GRPO's final pass rate has over PPO's, split: dots are seeds, bars means with their 95% t intervals. Where "
    "the baseline alone made the difference, its effect would be the total, and the other two would be 0. "
    "The intervals are each row's own, not adjusted for their number."
)
PROBES = (
    "Measured on the policies of both arms half-way, on held-out prompts; dots are means over runs with twice "
    "their standard error. Left: a baseline is better the less of the reward's variance it leaves; 1 is none. "
    "Middle: an estimator is better the nearer its direction to that of a larger batch. Right: where in a "
    "completion V is wrong, in reward squared, and the group size from which the mean of the others is the nearer one."
)
COSTS = (
    "One update of each arm. Left: what held the memory when it was fullest, measured tensor by tensor half-way "
    "through the runs; the dashed outline is the prediction for full-length completions. Middle: seconds. Right: "
    "operations, and the critic's part of them (hatched)."
)
BUDGETS = (
    "The learning curves again, each against another cost: whoever is further left at the same height got there with "
    "less. Seconds are those of the timing pass per completion; operations are counted at the probes' moments."
)
THEORY = (
    "Lower is less noise from the same number of completions (1 is no baseline). Left: what lambda trades between "
    "variance and the bias of a wrong V. Right: how the mean of the others approaches the true V(prompt) as the group "
    "grows (above), and what fewer prompts then cost (below). Exact sums over ten tiny random worlds (thin lines, bold "
    "their mean), not measurements of this suite."
)
LIMITS = (
    "The means describe these runs. With the few seeds of a suite a difference between two means is not yet a finding: "
    "compare it with the spread over seeds, and look at the dots.",
    "A seed fixes prompts, sampling and initialisation and is shared by the arms: compare seed by seed.",
    "The models are tiny and their tasks made for them: an order of arms here says nothing certain of large ones.",
    "One set of hyperparameters was run, and another may order the arms differently.",
    "Runs that failed, are missing or diverged before their budget count in no mean of scores: where there are any, "
    "the mean flatters its arm.",
    "Seconds and memory belong to the machine in the environment table. As headlines they come only from runs that had "
    "the machine to themselves; peak resident memory contains the libraries, which every arm loads.",
)


def summary(results: Results) -> pd.DataFrame:
    """A small table of text for the terminal: a row per task and arm, a dash for what does not exist."""
    table = tables.dashed(tables.summary(results))
    return table[list(TERMINAL)].rename(columns=TERMINAL)


def report_id(results: Results) -> str:
    """Eight hex digits of the runs' keys, what became of them and the hashes of their files."""
    runs = zip(results.runs["key"], results.runs["status"], strict=True)
    content = sorted([key, status, sorted(results.hashes[key].items())] for key, status in runs)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]


def make_tables(results: Results) -> dict[str, pd.DataFrame]:
    """Every table of the report, by the stem of its CSV file."""
    differing, shared = tables.configuration(results)
    made = {
        name: getattr(tables, name)(results)
        for name in ("summary", "final_scores", "variance", "memory", "seconds", "unfinished", "environment")
    }
    made |= {"configuration_differing": differing, "configuration_shared": shared}
    if results.suite.get("attribution"):
        made["attribution"] = attribution(results)
    if len(results.probes):
        names = ("gradient_noise", "baselines", "critic", "ranking", "memory_by_role", "operations")
        made |= {name: getattr(probetables, name)(results) for name in names}
    return {name: made[name] for name in TABLES if name in made}


def write(results: Results, out: Path) -> Path:
    """Write report.html, report.md, figures/ and tables/ into `out`; returns the path of report.html.

    The same runs give the same bytes. UserError when `out` cannot be written.
    """
    name = report_id(results)
    made = make_tables(results)
    try:
        for part in ("figures", "tables"):
            (out / part).mkdir(parents=True, exist_ok=True)
        for stem, table in made.items():
            table.to_csv(
                out / "tables" / f"{stem}.csv",
                index=False,
                na_rep=tables.DASH,
                float_format="%.6g",
                lineterminator="\n",
            )
        drawn = _draw(results, name, out)
        page = _content(results, name, made, drawn)
        loader = jinja2.FileSystemLoader(TEMPLATES)
        for file in ("report.md", "report.html"):
            environment = jinja2.Environment(
                loader=loader, autoescape=file.endswith("html"), trim_blocks=True, lstrip_blocks=True,
                undefined=jinja2.StrictUndefined, keep_trailing_newline=True,
            )  # fmt: skip
            environment.filters |= {
                "markdown": _markdown,
                "kinds": _kinds,
                "svg_uri": lambda stem: _svg_uri(out / "figures" / f"{stem}.svg"),
            }
            text = environment.get_template(f"{file}.j2").render(page)
            (out / file).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(f"{out}: the report cannot be written there: {error.strerror or error}") from None
    return out / "report.html"


def _draw(results: Results, name: str, out: Path) -> list[dict[str, str]]:
    """Draw the overview and each task; returns stem, title, explanation and caption of each figure."""
    sign = f"{results.name} · report {name}"
    drawn = [{
        "stem": "overview",
        "title": "Overview",
        "reading": "Each row is a task: learning curves by seed (thin) and their mean (bold), each seed's final score "
        "(dots) and their mean (bar), then seconds and peak memory, counted from 0.",
        "caption": f"All tasks. {sign}",
    }]  # fmt: skip
    figures.save(figures.overview_figure(results, sign), out / "figures" / "overview")
    more: list[tuple[str, str, str, Callable[[Results, str], Figure]]] = []
    if results.suite.get("attribution"):
        more += [("attribution", "Baseline or everything else", ATTRIBUTION, figures.attribution_figure)]
    if len(results.probes):
        more += [
            ("budgets", "Curves by cost", BUDGETS, costfigures.budget_figure),
            ("probes", "Baselines, gradients and the critic", PROBES, probefigures.probe_figure),
            ("costs", "What an update costs", COSTS, costfigures.cost_figure),
            ("theory", "What theory says of baselines", THEORY, lambda _, sign: theoryfigure.theory_figure(sign)),
        ]
    for stem, title, reading, draw in more:
        figures.save(draw(results, sign), out / "figures" / stem)
        about = "Ten worlds" if stem == "theory" else "All tasks"
        drawn.append({"stem": stem, "title": title, "reading": reading, "caption": f"{about}. {sign}"})
    for task in results.tasks:
        figures.save(figures.task_figure(results, task, sign), out / "figures" / f"task_{task}")
        drawn.append({"stem": f"task_{task}", "title": task, "reading": READING, "caption": f"{task}. {sign}"})
    return drawn


def _content(results: Results, name: str, made: dict[str, pd.DataFrame], drawn: list[dict[str, str]]) -> dict[str, Any]:
    """What the templates show."""
    training = results.runs[results.runs["purpose"] == "train"]
    at_a_glance = summary(results)
    if (at_a_glance["note"] == tables.DASH).all():
        at_a_glance = at_a_glance.drop(columns="note")
    unmatched = {task: text for task in results.tasks if (text := tables.unmatched(results, task))}
    return {
        "suite": results.suite,
        "id": name,
        "results": results,
        "trained": len(training),
        "planned": len(training) + int((results.missing["purpose"] == "train").sum()),
        "timed": int((results.runs["purpose"] == "timing").sum()),
        "summary": at_a_glance,
        "figures": drawn,
        "tables": [
            {"stem": stem, "title": TABLES[stem][0], "about": _about(results, stem), "frame": tables.dashed(table)}
            for stem, table in made.items()
        ],
        "unmatched": unmatched,
        "intervals": "attribution" in made,
        "limits": LIMITS,
        "citation": citation(results, name),
    }


def citation(results: Results, name: str) -> str:
    """The report as a BibTeX entry; the version and commit are those that its runs name."""
    environments = list(results.environments.values())
    versions = sorted({str(env.get("versions", {}).get("ppo_vs_grpo", "unknown")) for env in environments})
    commits = sorted({str(env.get("git", {}).get("commit", "unknown"))[:8] for env in environments})
    return (
        f"@techreport{{ppo-vs-grpo-{name},\n"
        f"  title = {{{' and '.join(results.arms)} on {', '.join(results.tasks)}: suite {results.name}}},\n"
        "  institution = {ppo-vs-grpo},\n"
        f"  number = {{{name}}},\n"
        f"  note = {{version {', '.join(versions)}, commit {', '.join(commits)}}}\n}}"
    )


def _about(results: Results, stem: str) -> str:
    """What a table says, and which arms cannot be in it."""
    about = TABLES[stem][1]
    if stem == "critic" and (without := probetables.without_critic(results)):
        return f"{about} Not in it, having no critic: {', '.join(without)}."
    return about


def _markdown(table: pd.DataFrame) -> str:
    """A table of text as Markdown."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def _kinds(table: pd.DataFrame) -> list[str]:
    """For each column of a table of text, whether to set it as "number" or as "text"."""
    numbers = [all(re.fullmatch(r"-|-?[\d,.]+(e-?\d+)?", cell) for cell in table[name]) for name in table]
    filled = [any(cell != tables.DASH for cell in table[name]) for name in table]
    return ["number" if number and some else "text" for number, some in zip(numbers, filled, strict=True)]


def _svg_uri(path: Path) -> str:
    """A drawing as an address that holds it: no second file, no clash of ids between drawings."""
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()
