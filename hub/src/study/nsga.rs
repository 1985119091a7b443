//! NSGA-II (Deb and others, 2002): generations of trials, of which the least dominated and least crowded become parents. Trial
//! numbers say which generation a trial is of, so results may come in any order.

use std::cmp::Ordering;

use super::front::{dominates, order};
use super::judge::Standing;
use super::random::Random;
use super::sample::{latin_place, random_place};
use super::space::{Dimension, Space};
use super::{Ask, Study, Trial};

/// What random numbers are drawn for; a number of its own for each.
const PAIR: usize = 21;
const MUTATION: usize = 22;
const IMMIGRANT: usize = 23;

/// How alike children and parents are; larger is more. The values of the paper's authors for bounded real variables.
const CROSSOVER_SPREAD: f64 = 15.0;
const MUTATION_SPREAD: f64 = 20.0;
const CROSSOVER_PROBABILITY: f64 = 0.9;

/// Children that were tried before are made anew this often: a trial costs more than a few numbers.
const ATTEMPTS: usize = 20;

/// A trial that may have children.
#[derive(Debug, Clone)]
struct Parent {
    number: usize,
    rank: usize,
    crowding: f64,
}

pub(super) fn ask(study: &Study, space: &Space, trials: &[Trial]) -> Ask {
    let size = study.population();
    let next = trials.len();
    if next < size {
        return Ask::Try(space.values(&latin_place(study.strategy.seed, space, size, next)));
    }
    let first = next - next % size;
    let settled = &trials[..first];
    if settled.iter().any(|trial| trial.outcome.is_none()) {
        return Ask::Wait;
    }
    let standings: Vec<Standing> = settled.iter().map(|trial| study.standing(trial)).collect();
    let mut parents = Vec::new();
    for generation in 0..first / size {
        let born = generation * size..(generation + 1) * size;
        let candidates = parents.iter().map(|parent: &Parent| parent.number).chain(born).collect();
        parents = survivors(candidates, &standings, size);
    }
    Ask::Try(child(study, space, trials, &parents, first, next))
}

/// A child that was not tried before, if there is one within a few attempts.
fn child(
    study: &Study,
    space: &Space,
    trials: &[Trial],
    parents: &[Parent],
    first: usize,
    next: usize,
) -> rigwire_shared::value::Fields {
    let seed = study.strategy.seed;
    let mut values = Vec::new();
    for attempt in 0..ATTEMPTS {
        // With one parent or none there is nothing to cross; and a child that does not get away from what is known makes room.
        let place = if parents.len() < 2 || attempt >= ATTEMPTS / 2 {
            random_place(seed, space, &[IMMIGRANT, next, attempt])
        } else {
            let pair = (next - first) / 2;
            let mut random = Random::new(seed, &[PAIR, first, pair, attempt]);
            let mother = tournament(parents, &mut random);
            let father = tournament(parents, &mut random);
            let mother = space.place(&trials[mother.number].parameters);
            let father = space.place(&trials[father.number].parameters);
            let (daughter, son) = cross(space.dimensions(), &mother, &father, &mut random);
            let child = if (next - first).is_multiple_of(2) { daughter } else { son };
            mutate(space.dimensions(), child, &mut Random::new(seed, &[MUTATION, next, attempt]))
        };
        values = space.values(&place);
        if trials.iter().all(|trial| trial.parameters != values) {
            break;
        }
    }
    values
}

/// The better of two, by rank and then by room around it.
fn tournament<'a>(parents: &'a [Parent], random: &mut Random) -> &'a Parent {
    let one = random.below(parents.len());
    // Another one than the first, each equally likely.
    let other = (one + 1 + random.below(parents.len() - 1)) % parents.len();
    let (one, other) = (&parents[one], &parents[other]);
    let order = one.rank.cmp(&other.rank).then(other.crowding.total_cmp(&one.crowding));
    if order == Ordering::Greater { other } else { one }
}

/// Simulated binary crossover; what has no order is taken from one parent or the other.
fn cross(dimensions: &[Dimension], mother: &[f64], father: &[f64], random: &mut Random) -> (Vec<f64>, Vec<f64>) {
    let crossing = random.part() < CROSSOVER_PROBABILITY;
    let mut children = (Vec::with_capacity(mother.len()), Vec::with_capacity(mother.len()));
    for ((dimension, mother), father) in dimensions.iter().zip(mother).zip(father) {
        // Drawn whether or not they are needed, so that each variable has its own numbers.
        let (selected, swapped, spread) = (random.part() < 0.5, random.part() < 0.5, random.part());
        let (mut one, mut other) = (*mother, *father);
        if crossing && selected && !dimension.is_choice() {
            (one, other) = blend(one, other, spread);
        }
        if crossing && swapped {
            (one, other) = (other, one);
        }
        children.0.push(one);
        children.1.push(other);
    }
    children
}

/// Two numbers around two others, near them more often than far, and never outside 0 to 1.
fn blend(one: f64, other: f64, spread: f64) -> (f64, f64) {
    let (low, high) = (one.min(other), one.max(other));
    let width = high - low;
    if width < 1e-14 {
        return (one, other);
    }
    let power = 1.0 / (CROSSOVER_SPREAD + 1.0);
    let factor = |room: f64| {
        let alpha = 2.0 - (1.0 + 2.0 * room / width).powf(-(CROSSOVER_SPREAD + 1.0));
        if spread <= 1.0 / alpha { (spread * alpha).powf(power) } else { (1.0 / (2.0 - spread * alpha)).powf(power) }
    };
    let below = 0.5 * (low + high - factor(low) * width);
    let above = 0.5 * (low + high + factor(1.0 - high) * width);
    let (below, above) = (below.clamp(0.0, 1.0), above.clamp(0.0, 1.0));
    if one <= other { (below, above) } else { (above, below) }
}

/// Polynomial mutation of one variable in each child on average; what has no order is drawn anew.
fn mutate(dimensions: &[Dimension], mut place: Vec<f64>, random: &mut Random) -> Vec<f64> {
    let probability = 1.0 / crate::scale::whole(dimensions.len().max(1));
    for (dimension, part) in dimensions.iter().zip(&mut place) {
        let (mutating, drawn) = (random.part() < probability, random.part());
        if !mutating {
            continue;
        }
        if dimension.is_choice() {
            *part = drawn;
            continue;
        }
        let power = 1.0 / (MUTATION_SPREAD + 1.0);
        let (below, above) = (1.0 - *part, *part);
        let moved = if drawn < 0.5 {
            (2.0 * drawn + (1.0 - 2.0 * drawn) * below.powf(MUTATION_SPREAD + 1.0)).powf(power) - 1.0
        } else {
            1.0 - (2.0 * (1.0 - drawn) + (2.0 * drawn - 1.0) * above.powf(MUTATION_SPREAD + 1.0)).powf(power)
        };
        *part = (*part + moved).clamp(0.0, 1.0);
    }
    place
}

/// The best `size` of the candidates. Failed trials have no place among them.
fn survivors(candidates: Vec<usize>, standings: &[Standing], size: usize) -> Vec<Parent> {
    let mut feasible: Vec<(usize, &[f64])> = Vec::new();
    let mut infeasible: Vec<(usize, f64)> = Vec::new();
    for number in candidates {
        match &standings[number] {
            Standing::Feasible(costs) => feasible.push((number, costs)),
            Standing::Infeasible(violation) => infeasible.push((number, *violation)),
            Standing::Failed => {}
        }
    }
    let mut parents = Vec::with_capacity(size);
    let mut rank = 0;
    for front in fronts(feasible) {
        let mut crowded = crowding(&front);
        // The last front that fits in part gives those with the most room.
        crowded.sort_by(|(one, room), (other, other_room)| other_room.total_cmp(room).then(one.cmp(other)));
        let room = size - parents.len();
        parents.extend(crowded.into_iter().take(room).map(|(number, crowding)| Parent { number, rank, crowding }));
        rank += 1;
        if parents.len() == size {
            return parents;
        }
    }
    // Every feasible trial dominates every infeasible one, and those each other by how far outside they are.
    infeasible.sort_by(|(one, violation), (other, other_violation)| {
        violation.total_cmp(other_violation).then(one.cmp(other))
    });
    let mut last = None;
    for (number, violation) in infeasible.into_iter().take(size - parents.len()) {
        if last.is_some_and(|last| last != violation) {
            rank += 1;
        }
        last = Some(violation);
        parents.push(Parent { number, rank, crowding: 0.0 });
    }
    parents
}

/// Fronts in turn: the first is dominated by nothing, each further one only by those before it. Nothing is dominated by what comes
/// later in lexical order, so each goes into the first front that does not dominate it.
fn fronts(mut candidates: Vec<(usize, &[f64])>) -> Vec<Vec<(usize, &[f64])>> {
    candidates.sort_by(|(one_number, one), (other_number, other)| order(one, other).then(one_number.cmp(other_number)));
    let mut fronts: Vec<Vec<(usize, &[f64])>> = Vec::new();
    for (number, costs) in candidates {
        // What one front dominates, all fronts before it dominate, too. Newest members are nearest, and the likeliest to dominate.
        let taken = |front: &Vec<(usize, &[f64])>| front.iter().rev().any(|(_, better)| dominates(better, costs));
        let free = fronts.partition_point(taken);
        match fronts.get_mut(free) {
            Some(front) => front.push((number, costs)),
            None => fronts.push(vec![(number, costs)]),
        }
    }
    fronts
}

/// How far apart the neighbours of each are, summed over the objectives. Those at the ends have all the room there is.
fn crowding(front: &[(usize, &[f64])]) -> Vec<(usize, f64)> {
    let mut room = vec![0.0; front.len()];
    let objectives = front.first().map_or(0, |(_, costs)| costs.len());
    let mut by_cost: Vec<usize> = (0..front.len()).collect();
    for objective in 0..objectives {
        let cost = |place: usize| front[place].1[objective];
        by_cost.sort_by(|one, other| cost(*one).total_cmp(&cost(*other)).then(front[*one].0.cmp(&front[*other].0)));
        let (Some(first), Some(last)) = (by_cost.first(), by_cost.last()) else { break };
        let range = cost(*last) - cost(*first);
        room[*first] = f64::INFINITY;
        room[*last] = f64::INFINITY;
        if range > 0.0 && range.is_finite() {
            for three in by_cost.windows(3) {
                if let [before, here, after] = three {
                    room[*here] += (cost(*after) - cost(*before)) / range;
                }
            }
        }
    }
    front.iter().map(|(number, _)| *number).zip(room).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survivors_are_the_least_dominated_and_then_the_least_crowded() {
        let standings = [
            Standing::Feasible(vec![0.0, 10.0]),
            Standing::Feasible(vec![1.0, 8.0]),
            Standing::Feasible(vec![1.1, 7.9]),
            Standing::Feasible(vec![5.0, 3.0]),
            Standing::Feasible(vec![10.0, 0.0]),
            Standing::Feasible(vec![6.0, 6.0]),
            Standing::Feasible(vec![11.0, 11.0]),
            Standing::Infeasible(0.5),
            Standing::Infeasible(0.1),
            Standing::Failed,
        ];
        let survive = |size: usize| -> Vec<(usize, usize)> {
            let parents = survivors((0..standings.len()).collect(), &standings, size);
            let mut survivors: Vec<_> = parents.iter().map(|parent| (parent.rank, parent.number)).collect();
            survivors.sort_unstable();
            survivors
        };
        assert_eq!(survive(4), [(0, 0), (0, 2), (0, 3), (0, 4)], "1 is the most crowded");
        assert_eq!(survive(6), [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 5)]);
        // What failed is never a parent, even where there is room; less outside goes before more.
        assert_eq!(survive(10)[5..], [(1, 5), (2, 6), (3, 8), (4, 7)]);
    }

    #[test]
    fn children_stay_near_their_parents_and_within_bounds() {
        let mut random = Random::new(1, &[]);
        for _ in 0..1000 {
            let (one, other) = (random.part(), random.part());
            let (left, right) = blend(one, other, random.part());
            assert!((0.0..=1.0).contains(&left) && (0.0..=1.0).contains(&right), "{left} {right}");
            assert_eq!(left <= right, one <= other);
        }
        assert_eq!(blend(0.25, 0.25, 0.9), (0.25, 0.25));
        let (left, right) = blend(0.4, 0.6, 0.5);
        assert!((left - 0.4).abs() < 0.01 && (right - 0.6).abs() < 0.01, "{left} {right}");
    }
}
