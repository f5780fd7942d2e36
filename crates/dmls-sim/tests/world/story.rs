//! The story of the split in the world.

use dmls_sim::story::{Ending, Scene, Seen, split};
use dmls_sim::world::Fault;

fn play(seed: u64) -> (Ending, Vec<Scene>) {
    let mut scenes = Vec::new();
    let mut keep = |scene| {
        scenes.push(scene);
        Ok::<_, Fault>(())
    };
    let ending = split(seed, &mut keep).unwrap();
    (ending, scenes)
}

#[test]
fn the_story_of_the_split_holds() {
    for seed in 0..3 {
        let (ending, scenes) = play(seed);
        let broken: Vec<_> = ending.claims.iter().filter(|claim| !claim.holds()).collect();
        assert!(broken.is_empty(), "seed {seed}: {broken:#?}");
        assert_eq!(scenes.iter().filter(|scene| matches!(scene, Scene::Log { .. })).count(), 4);
        let (said, columns) = &ending.said[0];
        assert_eq!((said.by, columns[1]), ("alice", Seen::Read));
    }
}

#[test]
fn the_same_seed_tells_the_same_story_byte_for_byte() {
    let (one, again, other) = (play(7), play(7), play(8));
    assert_eq!(one, again);
    assert_ne!(one.0.digest, other.0.digest);
}
