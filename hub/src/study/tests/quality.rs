//! How good the answers are.

use super::*;

const VALLEY: &str = "[variables]\nx = { type = \"float\", min = -2.0, max = 2.0 }\ny = { type = \"float\", min = -1.0, max = 3.0 }\n\
                      [objectives]\nf = { direction = \"minimize\" }\n[strategy]\nname = \"nelder-mead\"\nbudget = 200\n";

#[test]
fn nelder_mead_reaches_the_end_of_rosenbrocks_valley() {
    for seed in 0..5 {
        let study = study(&format!("{VALLEY}seed = {seed}\nparallelism = 3"));
        let trials = drive(&study, |at| {
            let (x, y) = (number(at, "x"), number(at, "y"));
            named([("f", (1.0 - x).powi(2) + 100.0 * (y - x * x).powi(2))])
        });
        assert_eq!(trials.len(), 200);
        let best = &trials[study.best(&trials).unwrap()];
        assert!(objective(best, "f") < 1e-6, "seed {seed}: {best:?}");
    }
}

#[test]
fn nelder_mead_finds_a_best_value_at_a_bound_and_within_a_constraint() {
    let text = "[variables]\nx = { type = \"float\", min = 0.0, max = 10.0 }\nn = { type = \"int\", min = 0, max = 40 }\n\
                z = { type = \"float\", min = 0.001, max = 1000.0, scale = \"log\" }\n\
                [objectives]\ngain = { direction = \"maximize\" }\nloss = { direction = \"minimize\", weight = 2.0 }\n\
                [constraints]\nload = { operator = \"<=\", value = 7.5 }\n\
                [strategy]\nname = \"nelder-mead\"\nbudget = 300\n";
    let study = study(&text.replace("\"maximize\" }", "\"maximize\", weight = 1.0 }"));
    let trials = drive(&study, |at| {
        let (x, n, z) = (number(at, "x"), number(at, "n"), number(at, "z"));
        // Best at x = 10, n = 30 and z = 1, but x may not be above 7.5.
        named([("gain", x - (n - 30.0).powi(2) / 100.0), ("loss", z.log10().powi(2)), ("load", x)])
    });
    let best = &trials[study.best(&trials).unwrap()];
    assert!(number(&best.parameters, "x") > 7.4, "{best:?}");
    assert!((number(&best.parameters, "n") - 30.0).abs() <= 2.0, "{best:?}");
    assert!((number(&best.parameters, "z").log10()).abs() < 0.1, "{best:?}");
}

#[test]
fn nelder_mead_starts_again_after_a_wrong_valley() {
    // Two valleys; the one that the middle leads into is the worse.
    let study = study(
        "[variables]\nx = { type = \"float\", min = 0.0, max = 1.0 }\n[objectives]\nf = { direction = \"minimize\" }\n\
         [strategy]\nname = \"nelder-mead\"\nbudget = 300\ntolerance = 0.001",
    );
    let trials = drive(&study, |at| {
        let x = number(at, "x");
        named([("f", ((x - 0.6) * 4.0).powi(2).min(0.02 * (x - 0.05).powi(2) * 100.0 - 0.5))])
    });
    let best = &trials[study.best(&trials).unwrap()];
    assert!((number(&best.parameters, "x") - 0.05).abs() < 0.01, "{best:?}");
}

/// The area that a front of two objectives, both minimised, covers below a reference point.
fn hypervolume(study: &Study, trials: &[Trial], reference: [f64; 2]) -> f64 {
    let mut front: Vec<[f64; 2]> = study
        .front(trials)
        .into_iter()
        .map(|place| [objective(&trials[place], "f1"), objective(&trials[place], "f2")])
        .filter(|[one, other]| *one < reference[0] && *other < reference[1])
        .collect();
    front.sort_by(|one, other| one[0].total_cmp(&other[0]));
    let mut top = reference[1];
    let mut area = 0.0;
    for [one, other] in front {
        area += (reference[0] - one) * (top - other);
        top = other;
    }
    area
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn compare(problem: &str, reference: [f64; 2], evaluate: impl Fn(&Fields) -> Vec<(String, f64)>) -> (f64, f64) {
    let of = |strategy: &str| {
        let areas = (0..5).map(|seed| {
            let study = study(&format!("{problem}[strategy]\nname = \"{strategy}\"\nbudget = 400\nseed = {seed}"));
            let trials = drive(&study, &evaluate);
            assert_eq!(trials.len(), 400);
            hypervolume(&study, &trials, reference)
        });
        median(areas.collect())
    };
    (of("nsga-2"), of("random"))
}

#[test]
fn nsga_2_is_far_better_than_chance_on_zdt1() {
    let variables: String =
        (1..=6).map(|index| format!("x{index} = {{ type = \"float\", min = 0.0, max = 1.0 }}\n")).collect();
    let problem = format!(
        "[variables]\n{variables}[objectives]\nf1 = {{ direction = \"minimize\" }}\nf2 = {{ direction = \"minimize\" }}\n"
    );
    let (nsga, random) = compare(&problem, [1.1, 1.1], |at| {
        let others: f64 = (2..=6).map(|index| number(at, &format!("x{index}"))).sum();
        let (x, g) = (number(at, "x1"), 1.0 + 9.0 * others / 5.0);
        named([("f1", x), ("f2", g * (1.0 - (x / g).sqrt()))])
    });
    // The whole front covers 0.871.
    assert!(nsga > 0.5 && nsga > 5.0 * random, "{nsga} and {random}");
}

#[test]
fn nsga_2_is_better_than_chance_under_constraints() {
    // Binh and Korn's problem, its second objective turned round, and one variable in steps.
    let problem = "[variables]\nx = { type = \"float\", min = 0.0, max = 5.0 }\ny = { type = \"float\", min = 0.0, max = 3.0, step = 0.01 }\n\
                   [objectives]\nf1 = { direction = \"minimize\" }\nf2 = { direction = \"minimize\" }\n\
                   [constraints]\nc1 = { max = 25.0 }\nc2 = { min = 7.7 }\n";
    let evaluate = |at: &Fields| {
        let (x, y) = (number(at, "x"), number(at, "y"));
        named([
            ("f1", 4.0 * x * x + 4.0 * y * y),
            ("f2", (x - 5.0).powi(2) + (y - 5.0).powi(2)),
            ("c1", (x - 5.0).powi(2) + y * y),
            ("c2", (x - 8.0).powi(2) + (y + 3.0).powi(2)),
        ])
    };
    let (nsga, random) = compare(problem, [140.0, 50.0], evaluate);
    assert!(nsga > random, "{nsga} and {random}");
    // The whole front covers about 5,270.
    assert!(nsga > 5_220.0, "{nsga}");
}

#[test]
fn nsga_2_finds_choices_and_whole_numbers() {
    let study = study(
        "[variables]\nmaterial = { type = \"choice\", values = [\"steel\", \"brass\", \"copper\", \"lead\"] }\n\
         turns = { type = \"int\", min = 1, max = 500 }\n\
         [objectives]\nfield = { direction = \"maximize\" }\nheat = { direction = \"minimize\" }\n\
         [strategy]\nname = \"nsga-2\"\nbudget = 300\npopulation = 20\nparallelism = 4\nseed = 3",
    );
    let trials = drive(&study, |at| {
        let resistance = match at[0].1.as_str().unwrap() {
            "steel" => 10.0,
            "brass" => 5.0,
            "copper" => 1.0,
            _ => 15.0,
        };
        let turns = number(at, "turns");
        named([("field", turns), ("heat", resistance * turns)])
    });
    let front = study.front(&trials);
    // Copper is the best for every number of turns.
    let copper =
        front.iter().filter(|place| trials[**place].parameters[0].1 == Value::Text("copper".to_owned())).count();
    assert!(front.len() > 50 && copper * 10 > front.len() * 9, "{copper} of {}", front.len());
}

#[test]
fn a_latin_hypercube_has_one_trial_in_each_piece() {
    let study = study(
        "[variables]\nx = { type = \"float\", min = 0.0, max = 1.0 }\nn = { type = \"int\", min = 1, max = 20 }\n\
         c = { type = \"choice\", values = [\"a\", \"b\"] }\n\
         [objectives]\nf = { direction = \"minimize\" }\n[strategy]\nname = \"latin-hypercube\"\nbudget = 20\nparallelism = 5",
    );
    let trials = drive(&study, |_| named([("f", 1.0)]));
    let mut pieces: Vec<String> =
        trials.iter().map(|trial| format!("{:.0}", (number(&trial.parameters, "x") * 20.0).floor())).collect();
    pieces.sort_by_key(|piece| piece.parse::<u32>().unwrap());
    assert_eq!(pieces, (0..20).map(|piece| piece.to_string()).collect::<Vec<_>>());
    let mut numbers: Vec<f64> = trials.iter().map(|trial| number(&trial.parameters, "n")).collect();
    numbers.sort_by(f64::total_cmp);
    assert_eq!(numbers, (1..=20).map(f64::from).collect::<Vec<_>>());
    let a = trials.iter().filter(|trial| trial.parameters[0].1 == Value::Text("a".to_owned())).count();
    assert_eq!(a, 10);
}

#[test]
fn a_grid_has_every_point_once() {
    let study = study(
        "[variables]\na = { type = \"float\", min = 0.0, max = 1.0 }\nb = { type = \"float\", min = 0.0, max = 0.3, step = 0.1 }\n\
         c = { type = \"choice\", values = [true, \"off\"] }\nd = { type = \"int\", min = 1, max = 100, scale = \"log\" }\n\
         [objectives]\nf = { direction = \"minimize\" }\n[strategy]\nname = \"grid\"\npoints = 3",
    );
    assert_eq!(study.budget(), 3 * 4 * 2 * 3);
    let trials = drive(&study, |_| named([("f", 1.0)]));
    let points: Vec<String> = trials
        .iter()
        .map(|trial| {
            trial
                .parameters
                .iter()
                .map(|(_, value)| serde_json::to_string(value).unwrap())
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(points.len(), 72);
    assert_eq!(points[..4], ["0.0 0.0 true 1", "0.0 0.0 true 10", "0.0 0.0 true 100", "0.0 0.0 \"off\" 1"]);
    assert_eq!(points[71], "1.0 0.3 \"off\" 100");
    assert_eq!(points.iter().collect::<std::collections::BTreeSet<_>>().len(), 72);
}
