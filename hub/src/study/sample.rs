//! Strategies that do not look at results: grid, random and Latin hypercube.

use super::random::Random;
use super::space::Space;
use super::{Ask, Study};

/// What random numbers are drawn for; a number of its own for each.
const RANDOM: usize = 1;
const ORDER: usize = 2;
const WITHIN: usize = 3;

pub(super) fn grid(space: &Space, index: usize) -> Ask {
    match space.grid_point(index) {
        Some(point) => Ask::Try(point),
        None => Ask::Done(format!("all {} points of the grid are tried", space.grid_len())),
    }
}

pub(super) fn random(study: &Study, space: &Space, index: usize) -> Ask {
    Ask::Try(space.values(&random_place(study.strategy.seed, space, &[RANDOM, index])))
}

pub(super) fn random_place(seed: u64, space: &Space, purpose: &[usize]) -> Vec<f64> {
    let mut random = Random::new(seed, purpose);
    space.dimensions().iter().map(|_| random.part()).collect()
}

pub(super) fn latin_hypercube(study: &Study, space: &Space, samples: usize, index: usize) -> Ask {
    Ask::Try(space.values(&latin_place(study.strategy.seed, space, samples, index)))
}

/// Place `index` of as many as there are pieces: along each variable, each piece has one of them.
pub(super) fn latin_place(seed: u64, space: &Space, samples: usize, index: usize) -> Vec<f64> {
    let mut within = Random::new(seed, &[WITHIN, index]);
    (0..space.dimensions().len())
        .map(|dimension| {
            let order = Random::new(seed, &[ORDER, dimension]).permutation(samples);
            let piece = order.get(index).copied().unwrap_or_default();
            (crate::scale::whole(piece) + within.part()) / crate::scale::whole(samples.max(1))
        })
        .collect()
}
