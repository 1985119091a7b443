//! Which trials nothing beats. Knows judgements alone.

use std::cmp::Ordering;

use super::judge::Standing;
use super::{Study, Trial};

pub(super) fn front(study: &Study, trials: &[Trial]) -> Vec<usize> {
    among(study, trials.iter().enumerate())
}

/// What is on the front already, and one more: all else was beaten before, and still is.
pub(super) fn front_with(study: &Study, trials: &[Trial], front: &[usize], place: usize, ended: &Trial) -> Vec<usize> {
    let known = front.iter().filter(|known| **known != place);
    among(study, known.filter_map(|known| Some((*known, trials.get(*known)?))).chain([(place, ended)]))
}

fn among<'a>(study: &Study, trials: impl Iterator<Item = (usize, &'a Trial)>) -> Vec<usize> {
    let mut feasible: Vec<(usize, &Trial, Vec<f64>)> = trials
        .filter_map(|(place, trial)| match study.standing(trial) {
            Standing::Feasible(costs) => Some((place, trial, costs)),
            Standing::Infeasible(_) | Standing::Failed => None,
        })
        .collect();
    // Nothing is beaten by what comes after it in this order, so each is compared with those that are on the front already.
    feasible.sort_by(|(one_place, _, one), (other_place, _, other)| order(one, other).then(one_place.cmp(other_place)));
    let mut front: Vec<(usize, &Trial, Vec<f64>)> = Vec::new();
    for (place, trial, costs) in feasible {
        let out = match costs.as_slice() {
            // In this order the last one on the front has the smallest second objective.
            [_, second] => front
                .last()
                .is_some_and(|(_, _, last)| last.get(1).is_some_and(|best| best <= second) && *last != costs),
            _ => front.iter().any(|(_, _, better)| dominates(better, &costs)),
        };
        let twin = front.iter().rev().take_while(|(_, _, known)| *known == costs);
        let out = out || twin.into_iter().any(|(_, known, _)| known.parameters == trial.parameters);
        if !out {
            front.push((place, trial, costs));
        }
    }
    let mut places: Vec<usize> = front.into_iter().map(|(place, _, _)| place).collect();
    places.sort_unstable();
    places
}

pub(super) fn best(study: &Study, trials: &[Trial]) -> Option<usize> {
    if !study.is_scalar() {
        return None;
    }
    let feasible = trials.iter().enumerate().filter_map(|(place, trial)| match study.standing(trial) {
        Standing::Feasible(costs) => Some((place, study.cost(&costs))),
        Standing::Infeasible(_) | Standing::Failed => None,
    });
    feasible.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(place, _)| place)
}

/// By the first objective, then the second, and so on.
pub(super) fn order(one: &[f64], other: &[f64]) -> Ordering {
    one.iter()
        .zip(other)
        // Not `total_cmp`: zero and minus zero are one number here.
        .map(|(one, other)| one.partial_cmp(other).unwrap_or(Ordering::Equal))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Nowhere worse, and somewhere better.
pub(super) fn dominates(one: &[f64], other: &[f64]) -> bool {
    one.iter().zip(other).all(|(one, other)| one <= other) && one.iter().zip(other).any(|(one, other)| one < other)
}
