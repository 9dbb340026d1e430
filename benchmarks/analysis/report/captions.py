"""What a report says of its tables and figures, and of what it cannot say."""

from __future__ import annotations

TABLES = {
    "claims": ("Claims", "What the source text says, and what was found here."),
    "conditions": (
        "Conditions",
        "Of each arm on each task: training runs, how many collapsed (below half of their start), diverged or failed; "
        "the share of sampled completions that ended before the limit; the share of prompt groups whose rewards are "
        "all equal; where a reward says it, the share of completions in which it found an answer to read. Means over "
        "updates, then over runs.",
    ),
    "signs": (
        "Signs of breaking",
        "Of each training run, what its records of updates show: a non-finite loss or gradient; a gradient or a "
        "critic's loss ten times that of the run's first tenth; an entropy below 0.01 nats a token; fewer than a tenth "
        "of the completions ending where half or more did; no two rewards that differ. All but the first for three "
        "updates in a row.",
    ),
    "lengths": (
        "Length of right and wrong completions",
        "Sampled held-out completions of all complete runs of an arm: how many passed and failed, their mean tokens, "
        "and how many of each the limit cut off before they came to an end token.",
    ),
    "verdicts": ("Verdicts", "Every metric of two arms, on each task and over all of them."),
    "differences": (
        "The difference in full",
        "Final held-out pass rate, the second arm minus the first, paired by seed: mean with its 95% t interval, the "
        "exact sign-flip test with the least p that so many seeds could give, the chance that the second arm ends "
        "higher with its exact interval, the difference in standard deviations of itself, and that of interquartile "
        "means. The verdict rests on the t test; the others stand beside it.",
    ),
    "other_pairs": (
        "Other pairs",
        "The pairs of arms that the suite names beside the judged one: final held-out pass rates, and the second minus "
        "the first with its 95% t interval over paired seeds. Not adjusted, and no winner is named: who looks through "
        "several differences finds a large one.",
    ),
    "sizes": (
        "The difference by size",
        "Tasks whose start models differ in size, the smallest first: the final held-out pass rate of the second arm "
        "minus the first's, with its 95% t interval over paired seeds, not adjusted.",
    ),
    "summary": ("Summary", "Means over the seeds of each arm on each task."),
    "final_scores": (
        "Final scores",
        "Each training run: held-out pass rate at its start and end, area under the curve.",
    ),
    "attribution": (
        "Baseline or everything else",
        "Differences of the final held-out pass rate with 95% t intervals over paired seeds, and their equal-weight "
        "mean over tasks. Baseline: the group's mean instead of the learned value; everything else: GRPO's details "
        "instead of PPO's; each is averaged over the other, and the two add up to the total, GRPO minus PPO. The "
        "interaction is the baseline's effect under GRPO's details minus that under PPO's.",
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
    "speed": (
        "Speed beside peers",
        "In each cell both do the same work: start model, prompts, group size, lengths, updates, optimizer. Times: how "
        "many times the seconds of a step, and the process's peak memory, the peer takes; the median over repeats and "
        "their extremes, each ratio within one repeat. Tokens: the same for what was really sampled, near 1 where the "
        "work was equal.",
    ),
    "speed_runs": (
        "Speed of every run",
        "Each timing run of a cell: median seconds of a step, tokens sampled in it, peak MB of the process.",
    ),
    "throughput": (
        "Runs an hour",
        "Short runs of one arm, as many at a time as there are slots, the cores shared out among them; from the start "
        "of the first to the end of the last. Medians over repeats and their extremes; times: against the first number "
        "of slots, within a repeat.",
    ),
    "dials": (
        "Claims by setting",
        "Each claim's measure at the points of its figure, with 95% intervals. Explored, not tested.",
    ),
    "settings": (
        "How much settings matter",
        "Final pass rates of the trials in which the arms' settings were sought, on tuning's prompts: with the arm's "
        "own settings; quartiles of the trials drawn at random from its space, and the share of them that collapsed "
        "(below half of the start); the best of all trials.",
    ),
    "settings_learning_rate": (
        "Score by learning rate",
        "Of the trials drawn at random, all other settings at random too: the mean score over tasks in each part of "
        "the arm's range, with its 95% t interval over trials.",
    ),
    "settings_importance": (
        "Which settings matter",
        "The share of the scores' variance over all trials that comes with each setting alone (fANOVA); rough below a "
        "few dozen trials.",
    ),
    "settings_one_or_each": (
        "One setting for all tasks",
        "The best trial's score over all tasks, and the mean of each task's own best. Both are the best of as many "
        "trials, so both are too high.",
    ),
    "settings_search": (
        "What a search takes",
        "The best score that so many random trials can be expected to find, and how many of them, and completions, it "
        "takes until that is 95% of the best of all trials; a dash: more than there were.",
    ),
    "power": (
        "What the seeds can show",
        "Of the final held-out pass rate: `sd` is that of the paired differences, the smallest effect is the true "
        "difference that this many seeds show four times in five (paired t test at 5%), and seeds needed are those "
        "that show a difference of 0.05 as often. Nothing is adjusted for several tasks.",
    ),
    "configuration_differing": ("Where the arms differ", "Generated from the specs of the runs."),
    "configuration_shared": ("What the arms share", "Generated from the specs of the runs."),
    "unfinished": ("Failed, diverged and missing runs", "They count in no mean above."),
    "environment": ("Environment", "Versions, hardware and load of the runs."),
}
"""Each table's title and what it says, by the stem of its CSV file."""

FIGURES = {
    "forest": (
        "The difference on each task",
        "Final held-out pass rate of {second} minus that of {first}, in percentage points: means with their 95% "
        "intervals over paired seeds, not widened for being several. A difference whose whole interval lies in the "
        "shaded band is too small to matter.",
    ),
    "overview": (
        "Overview",
        "Each row is a task. Left: learning curves by seed (thin) and their mean (bold). Right: {second} minus {first} "
        "in percentage points, paired by seed, with its 95% t interval (grey) at each evaluation, not widened for "
        "being several; without two arms, each seed's final score (dots) and their mean (bar).",
    ),
    "lengths": (
        "Length of right and wrong completions",
        "Each row is a task on which lengths change: mean tokens of the held-out completions that passed (left) and of "
        "those that failed (right), over all runs of an arm together, on one scale.",
    ),
    "settings": (
        "How much settings matter",
        "Trials of other settings, on tuning's prompts. Above: final pass rates over all tasks, a dot a trial drawn at "
        "random, the bar their median, the diamond the arm's own settings, the triangle the best of all trials. Below: "
        "the best score to be expected of so many random trials, by the completions that they take; and each random "
        "trial's score by its learning rate.",
    ),
    "sizes": (
        "The difference by size",
        "Final held-out pass rate, in points, against the parameters of the start model: means of paired seeds with "
        "their 95% intervals. In the shaded band a difference is too small to matter. No line is drawn: nothing is "
        "said of sizes between these or beyond.",
    ),
    "gate": (
        "When the critic is the baseline",
        "Each row is a task, means over seeds. Left: the share of the Monte Carlo returns' variance that V explains in "
        "an update's batch; below 0 it explains less than one mean for all prompts. Right: the share of updates whose "
        "baseline was the critic.",
    ),
    "dials": (
        "Where a claim depends on a setting",
        "Each panel is one claim's measure as one setting is turned: dots are means with their 95% intervals, the line "
        "is where the claim would be neither true nor false, and it holds on the shaded side. Explored, not tested: "
        "the claims' verdicts are of the settings in the table. Where points are single arms and the claim compares "
        "two, there is no line.",
    ),
    "attribution": (
        "Baseline or everything else",
        "What GRPO's final pass rate has over PPO's, split: dots are seeds, bars means with their 95% t intervals. "
        "Where the baseline alone made the difference, its effect would be the total, and the other two would be 0. "
        "The intervals are each row's own, not adjusted for their number.",
    ),
    "budgets": (
        "Curves by cost",
        "The learning curves again, each against another cost: whoever is further left at the same height got there "
        "with less. Seconds are those of the timing pass per completion; operations are counted at the probes' "
        "moments.",
    ),
    "probes": (
        "Baselines, gradients and the critic",
        "Measured on the policies of both arms half-way, on held-out prompts; dots are means over runs with twice "
        "their standard error. Above: a baseline is better the less of the reward's variance it leaves; 1 is none. "
        "Left: an estimator is better the nearer its direction to that of a larger batch. Right: where in a "
        "completion V is wrong, in reward squared, and below it the group size from which the mean of the others is "
        "the nearer one.",
    ),
    "costs": (
        "What an update costs",
        "One update of each arm. Above: what held the memory when it was fullest, measured tensor by tensor half-way "
        "through the runs; the dashed outline is the prediction for full-length completions. Below: seconds, and "
        "operations with the critic's part of them (hatched).",
    ),
    "speed": (
        "Peers on equal work",
        "How many times the seconds, and the peak memory, of the arm that does the same here: right of 1 the peer "
        "takes more. Dots are medians over repeats, lines the extremes, an open dot a machine that others used.",
    ),
    "scaling": (
        "How cost grows",
        "Cells that differ in one setting alone: seconds and memory against it. Rows end early in the solid lines, all "
        "run to the limit in the dashed ones. Last: the same against the tokens that a completion really has; cost "
        "follows them where no work is done on padding.",
    ),
    "throughput": (
        "Runs an hour",
        "Short runs side by side: dots are repeats, the line their medians, open dots a machine that others used. "
        "Dashed: what the first number of slots would give in proportion.",
    ),
    "theory": (
        "What theory says of baselines",
        "Lower is less noise from the same number of completions (1 is no baseline). Left: what lambda trades between "
        "variance and the bias of a wrong V. Right: how the mean of the others approaches the true V(prompt) as the "
        "group grows (above), and what fewer prompts then cost (below). Exact sums over ten tiny random worlds (thin "
        "lines, bold their mean), not measurements of this suite.",
    ),
}
"""Each figure's title and how to read it, by the stem of its files."""

TASK_FIGURE = (
    "Thin lines are seeds, bold ones means over them, the dotted one the level of the start; the grey band is the 95% "
    "t interval of the paired difference; a silent group is one whose rewards are all equal; bars count from 0. "
    "Resident memory, mostly the libraries', is in the tables."
)
LIMITS = (
    "A verdict is about these models, tasks and settings: other seeds should give it again, of other settings it says "
    "nothing. The models are tiny and their tasks made for them.",
    "One metric is primary: its row over all tasks is the one question asked. The others are secondary and adjusted "
    "together. docs/method.md says in how many suites of two equal arms some winner is named all the same.",
    "Intervals are over seeds. They do not cover the choice of held-out prompts, which are the same for all seeds.",
    "A seed fixes prompts, sampling and initialisation and is shared by the arms: they are compared seed by seed.",
    "A rare collapse of one arm alone can hide in eight seeds; no test of eight numbers sees it. Collapsed runs are "
    "counted beside the verdicts.",
    "One set of hyperparameters was run, and another may order the arms differently.",
    "Runs that failed, are missing or diverged before their budget count in no mean of scores: where there are any, "
    "the mean flatters its arm.",
    "Seconds and memory belong to the machine in the environment table. As headlines they come only from runs that had "
    "the machine to themselves; peak resident memory contains the libraries, which every arm loads.",
)
