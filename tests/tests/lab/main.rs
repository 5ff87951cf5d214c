//! The lab tier: real relays and peers on machines that are network namespaces, behind NATs of every class (see
//! `peerup_tests::lab`). The tests share the relays and run several at a time, each with machines of its own.
//!
//! `make test-lab` runs them; by hand, as root, it is
//! `cargo test --profile ci -p peerup-tests --features lab --test lab [-- WORD]`. With a WORD only the tests whose
//! name has it are run.

mod grades;
mod stun;
mod world;

use std::pin::Pin;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use futures::StreamExt;
use peerup_tests::lab::sandbox;
use peerup_tests::programs;
use peerup_tests::tally::{Tally, seconds, wanted};

use world::World;

/// How many tests run at a time: they wait most of the time.
const AT_A_TIME: usize = 6;

type Outcome<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// A test of the lab.
struct Test {
    name: String,
    run: Box<dyn for<'a> Fn(&'a World) -> Outcome<'a>>,
}

macro_rules! tests {
    ($(usual $test:path;)*) => {
        [$(Test {
            name: stringify!($test).replace(' ', ""),
            run: Box::new(|world| Box::pin($test(world))),
        }),*]
    };
}

/// The longest first.
fn tests() -> Vec<Test> {
    let single = tests! {
        usual grades::a_restored_network_has_its_grade_back;
        usual grades::a_new_network_has_its_grade_at_once;
        usual grades::a_pod_range_is_no_carrier;
        usual grades::a_router_tells_of_the_carrier_behind_it;
        usual grades::a_router_in_the_internet_is_no_carrier;
        usual stun::a_client_of_others_learns_its_outside_address;
        usual stun::nonsense_and_replays_change_nothing;
    };
    single.into_iter().chain(grades::rows()).collect()
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, rest)) = words.split_first()
        && first == stun::ASK
    {
        return stun::ask(rest).map_or_else(
            |error| {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            },
            |()| ExitCode::SUCCESS,
        );
    }
    let started = Instant::now();
    let tally = run().unwrap_or_else(|error| {
        println!("the lab tier can't begin: {error:#}");
        Tally::of_a_bad_start()
    });
    tally.close(started.elapsed())
}

fn run() -> Result<Tally> {
    let word = wanted();
    let mut tally = Tally::default();
    let (tests, others): (Vec<_>, Vec<_>) = tests()
        .into_iter()
        .partition(|test| word.as_ref().is_none_or(|word| test.name.contains(word)));
    tally.filtered = others.len();
    if !sandbox::is_inside() {
        if let Some(reason) = sandbox::lacking()? {
            for test in &tests {
                println!("test {} ... ignored, {reason}", test.name);
            }
            tally.skipped = tests.len();
            return Ok(tally);
        }
        // Inside there is no network to build with.
        programs::path("peerup")?;
        match sandbox::enter()? {}
    }
    tokio::runtime::Runtime::new()?.block_on(all(tests, tally))
}

async fn all(tests: Vec<Test>, mut tally: Tally) -> Result<Tally> {
    println!("\nrunning {} tests", tests.len());
    let world = World::new().await?;
    let mut running = futures::stream::iter(tests)
        .map(async |test: Test| {
            let started = Instant::now();
            let result = (test.run)(&world).await;
            (test.name, result, seconds(started.elapsed()))
        })
        .buffer_unordered(AT_A_TIME);
    while let Some((name, result, took)) = running.next().await {
        match result {
            Ok(()) => {
                println!("test {name} ... ok ({took})");
                tally.passed += 1;
            }
            Err(error) => {
                println!("\n--- {name}\n{error:#}");
                println!("test {name} ... FAILED ({took})");
                tally.failed += 1;
            }
        }
    }
    drop(running);
    world.end(tally.failed == 0)?;
    Ok(tally)
}
