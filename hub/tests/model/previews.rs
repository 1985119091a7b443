//! Previews: asked for while somebody watches, again from time to time, and when the agent is back.

use rigwire::preview::Viewer;
use rigwire_shared::command::{CommandBody, PreviewQuality};
use rigwire_shared::ids::DeviceId;

use crate::support::{World, device};

/// What the agent was told of previews since the last time: a rate, or to stop.
fn told(world: &mut World) -> Vec<(DeviceId, Option<u8>)> {
    world.settle();
    let commands = std::mem::take(&mut world.commands).into_iter();
    let previews = commands.filter_map(|command| match command.body {
        CommandBody::StartPreview { device, frames_per_second, .. } => Some((device, Some(frames_per_second))),
        CommandBody::StopPreview { device } => Some((device, None)),
        _ => None,
    });
    previews.collect()
}

#[test]
fn a_preview_is_asked_for_again_until_nobody_watches() {
    let mut world = World::new();
    let (camera, other) = (device("dmm-1"), device("psu-1"));
    let start = |world: &mut World, viewer, quality| {
        world.model.start_preview(&device("dmm-1"), Viewer(viewer), quality, world.now);
        told(world)
    };
    assert_eq!(start(&mut world, 1, PreviewQuality::Low), [(camera.clone(), Some(10))]);
    assert_eq!(start(&mut world, 2, PreviewQuality::High), [(camera.clone(), Some(15))]);
    world.advance(19_000);
    assert_eq!(told(&mut world), []);
    let due = world.model.next_wake();
    assert_eq!(due.map(|at| at.0 - world.now.0), Some(1_000_000), "the hub wakes for it");
    world.advance(1_000);
    assert_eq!(told(&mut world), [(camera.clone(), Some(15))]);
    world.agent_restarts();
    assert_eq!(told(&mut world), [(camera.clone(), Some(15))], "an agent that was away does not know who watches");
    world.model.stop_preview(&camera, Viewer(2), world.now);
    assert_eq!(told(&mut world), [(camera.clone(), Some(10))]);
    world.model.stop_preview(&other, Viewer(1), world.now);
    assert_eq!(told(&mut world), []);
    world.model.stop_preview(&camera, Viewer(1), world.now);
    assert_eq!(told(&mut world), [(camera, None)]);
    world.advance(60_000);
    assert_eq!(told(&mut world), []);
}
