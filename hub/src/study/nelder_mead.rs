//! The downhill simplex of Nelder and Mead, within bounds and with restarts. The whole search is played again from its history
//! whenever it is asked; the first result that is not there is the answer.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::judge::Standing;
use super::random::Random;
use super::sample::random_place;
use super::space::Space;
use super::{Ask, Study, Trial};

/// What random numbers are drawn for; a number of its own for each.
const START: usize = 11;
const SIDES: usize = 12;

const TOLERANCE: f64 = 1e-5;

/// Edge of a new simplex, in parts of the variables' ranges: where nothing is known, and around the best so far.
const EDGE: f64 = 0.25;
const EDGE_AROUND_BEST: f64 = 0.1;

/// Rounds without a new trial after which a simplex is given up: among whole numbers it may walk over known ground for ever.
const ROUNDS_MAX: usize = 200;

/// Restarts that led to no new trial, after which all within reach is taken for known.
const RESTARTS_MAX: usize = 50;

#[derive(Debug, Clone)]
struct Vertex {
    place: Vec<f64>,
    standing: Standing,
}

/// How far each move goes. For more than two variables the factors of Gao and Han, which do not stall there.
struct Factors {
    expand: f64,
    contract: f64,
    shrink: f64,
}

impl Factors {
    fn new(variables: usize) -> Self {
        if variables <= 2 {
            return Self { expand: 2.0, contract: 0.5, shrink: 0.5 };
        }
        let variables = crate::scale::whole(variables);
        Self { expand: 1.0 + 2.0 / variables, contract: 0.75 - 1.0 / (2.0 * variables), shrink: 1.0 - 1.0 / variables }
    }
}

/// The history, read from its beginning.
struct Replay<'a> {
    study: &'a Study,
    space: &'a Space,
    trials: &'a [Trial],
    /// Trials that were read.
    read: usize,
    /// Which trial had these values: none is asked for twice.
    known: BTreeMap<Vec<u64>, usize>,
    best: Option<Vertex>,
}

pub(super) fn ask(study: &Study, space: &Space, trials: &[Trial]) -> Ask {
    let mut replay = Replay { study, space, trials, read: 0, known: BTreeMap::new(), best: None };
    let mut idle = 0;
    for start in 0.. {
        let before = replay.read;
        if let Err(ask) = replay.descend(start) {
            return ask;
        }
        idle = if replay.read == before { idle + 1 } else { 0 };
        if idle == RESTARTS_MAX {
            break;
        }
    }
    Ask::Done("every point that the simplex reaches is tried".to_owned())
}

impl Replay<'_> {
    /// One simplex from its start until it has collapsed.
    fn descend(&mut self, start: usize) -> Result<(), Ask> {
        let free: Vec<usize> = (0..self.space.dimensions().len())
            .filter(|dimension| !self.space.dimensions()[*dimension].is_fixed())
            .collect();
        let factors = Factors::new(free.len());
        let mut simplex = self.evaluate(self.first_places(start, &free))?;
        let mut read = self.read;
        let mut rounds = 0;
        loop {
            simplex.sort_by(|one, other| one.standing.order(&other.standing, self.study));
            if self.has_collapsed(&simplex) {
                return Ok(());
            }
            rounds = if self.read == read { rounds + 1 } else { 0 };
            read = self.read;
            if rounds > ROUNDS_MAX {
                return Ok(());
            }
            let Some(worst) = simplex.pop() else { return Ok(()) };
            let (Some(best), Some(second)) = (simplex.first(), simplex.last()) else { return Ok(()) };
            let centre = centre(&simplex);
            let moved = |by: f64| along(&centre, &worst.place, -by);
            let reflected = self.one(moved(1.0))?;
            if self.better(&reflected, best) {
                let expanded = self.one(moved(factors.expand))?;
                simplex.push(if self.better(&expanded, &reflected) { expanded } else { reflected });
                continue;
            }
            if self.better(&reflected, second) {
                simplex.push(reflected);
                continue;
            }
            let (contracted, bar) = if self.better(&reflected, &worst) {
                (self.one(moved(factors.contract))?, reflected)
            } else {
                (self.one(moved(-factors.contract))?, worst)
            };
            if self.better(&contracted, &bar) {
                simplex.push(contracted);
                continue;
            }
            simplex.push(bar);
            let best = simplex.remove(0);
            let places = simplex.iter().map(|vertex| along(&best.place, &vertex.place, factors.shrink)).collect();
            simplex = self.evaluate(places)?;
            simplex.insert(0, best);
        }
    }

    /// The first simplex stands in the middle; later ones around the best so far and at random places by turns.
    fn first_places(&self, start: usize, free: &[usize]) -> Vec<Vec<f64>> {
        let seed = self.study.strategy.seed;
        let (origin, edge) = match &self.best {
            Some(best) if start % 2 == 1 => (best.place.clone(), EDGE_AROUND_BEST),
            Some(_) | None if start == 0 => (vec![0.5; self.space.dimensions().len()], EDGE),
            Some(_) | None => (random_place(seed, self.space, &[START, start]), EDGE),
        };
        let mut sides = Random::new(seed, &[SIDES, start]);
        let mut places = vec![origin.clone()];
        for dimension in free {
            let mut place = origin.clone();
            let side = if sides.below(2) == 0 { edge } else { -edge };
            // Turned round at a bound, where it would otherwise have no edge.
            let moved = place[*dimension] + side;
            place[*dimension] = if (0.0..=1.0).contains(&moved) { moved } else { place[*dimension] - side };
            places.push(place);
        }
        places
    }

    fn one(&mut self, place: Vec<f64>) -> Result<Vertex, Ask> {
        self.evaluate(vec![place])?.pop().ok_or(Ask::Wait)
    }

    /// Results at these places. Those that were never asked for are asked for side by side.
    fn evaluate(&mut self, places: Vec<Vec<f64>>) -> Result<Vec<Vertex>, Ask> {
        let mut numbers = Vec::with_capacity(places.len());
        for place in &places {
            let key = self.space.key(place);
            let number = match self.known.get(&key) {
                Some(number) => *number,
                None if self.read == self.trials.len() => return Err(Ask::Try(self.space.values(place))),
                None => {
                    self.known.insert(key, self.read);
                    self.read += 1;
                    self.read - 1
                }
            };
            numbers.push(number);
        }
        let mut vertices = Vec::with_capacity(places.len());
        for (place, number) in places.into_iter().zip(numbers) {
            let trial = &self.trials[number];
            if trial.outcome.is_none() {
                return Err(Ask::Wait);
            }
            // Whoever drives the study from outside may have tried something else instead.
            let place =
                if trial.parameters == self.space.values(&place) { place } else { self.space.place(&trial.parameters) };
            let vertex = Vertex { place, standing: self.study.standing(trial) };
            if self.best.as_ref().is_none_or(|best| self.better(&vertex, best)) {
                self.best = Some(vertex.clone());
            }
            vertices.push(vertex);
        }
        Ok(vertices)
    }

    fn better(&self, one: &Vertex, other: &Vertex) -> bool {
        one.standing.order(&other.standing, self.study) == Ordering::Less
    }

    fn has_collapsed(&self, simplex: &[Vertex]) -> bool {
        let Some((first, others)) = simplex.split_first() else { return true };
        let tolerance = self.study.strategy.tolerance.unwrap_or(TOLERANCE);
        let near = |vertex: &Vertex| {
            first.place.iter().zip(&vertex.place).all(|(one, other)| (one - other).abs() < tolerance)
                || self.space.key(&first.place) == self.space.key(&vertex.place)
        };
        others.iter().all(near)
    }
}

fn centre(vertices: &[Vertex]) -> Vec<f64> {
    let count = crate::scale::whole(vertices.len());
    let dimensions = vertices.first().map_or(0, |vertex| vertex.place.len());
    (0..dimensions)
        .map(|dimension| vertices.iter().map(|vertex| vertex.place[dimension]).sum::<f64>() / count)
        .collect()
}

/// From `origin` by a multiple of the way to `other`, within the bounds.
fn along(origin: &[f64], other: &[f64], by: f64) -> Vec<f64> {
    origin.iter().zip(other).map(|(origin, other)| (origin + by * (other - origin)).clamp(0.0, 1.0)).collect()
}
