//! HTTP and device identity against real, federated homeservers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod endorsement;
mod federation;
mod session;
mod to_device;
mod world;

/// One test, because the servers are dear to start and their links are shared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_homeservers() {
    let world = world::World::up();
    session::scenario(&world).await;
    endorsement::scenario(&world).await;
    to_device::scenario(&world).await;
    federation::scenario(&world).await;
}
