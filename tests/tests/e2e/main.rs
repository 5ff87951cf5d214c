//! The e2e tier: the README's story and what may go wrong in it, on a kind cluster with
//! the images that are shipped. Steps in order, each on what those before it left.
//!
//! `make test-e2e` makes the cluster. By hand, on one that is there:
//!
//! ```sh
//! eval "$(hack/cluster env peerup-test)"
//! cargo test --profile ci -p peerup-tests --features e2e --test e2e [-- WORD]
//! ```
//!
//! With a WORD only the steps whose name has it are run.

mod bad_input;
mod evidence;
mod expiry;
mod faults;
mod first_use;
mod grades;
mod groups;
mod guests;
mod hygiene;
mod install;
mod leaving;
mod logs;
mod outside;
mod pods;
mod prometheus;
mod snapshot;
mod wire;
mod world;

use std::pin::Pin;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use peerup_tests::tally::{Tally, seconds, wanted};

use world::World;

type Outcome<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// A step of the story.
struct Step {
    name: &'static str,
    /// Without it no later step makes sense.
    vital: bool,
    run: for<'a> fn(&'a mut World) -> Outcome<'a>,
}

macro_rules! steps {
    ($($kind:ident $step:path;)*) => {
        [$(Step {
            name: stringify!($step),
            vital: matches!(stringify!($kind).as_bytes(), b"vital"),
            run: |world| Box::pin($step(world)),
        }),*]
    };
}

const STEPS: [Step; 45] = steps! {
    vital install::helm_installs_the_operator;
    usual install::helm_test_passes;
    vital install::the_examples_apply;
    usual install::codes_are_delivered;
    vital pods::three_pods_on_two_nodes_join;
    usual pods::conditions_and_grade_are_told;
    usual pods::tables_have_rows;
    usual pods::the_metric_shows_the_grade;
    usual wire::what_passes_is_recorded;
    usual outside::a_laptop_joins_with_a_code;
    usual outside::the_same_code_is_refused_to_another;
    usual pods::a_deleted_pod_takes_its_peer_along;
    usual pods::twenty_pods_join_without_an_error;
    usual faults::kills_in_a_rollout_lose_no_member;
    usual faults::no_code_was_used_twice;
    usual faults::an_operator_that_is_replaced_misses_no_pod;
    usual first_use::a_pod_offers_a_service;
    usual first_use::a_laptop_reaches_it_by_service_account;
    usual first_use::a_ping_shows_that_nobody_has_verified;
    usual first_use::two_people_verify_each_other;
    usual first_use::a_pod_is_asked_through_kubectl;
    usual first_use::where_it_is_required_the_unverified_are_refused;
    usual first_use::a_pod_and_a_laptop_verify_each_other;
    usual guests::a_laptop_invites_a_guest_whom_nobody_else_meets;
    usual first_use::the_service_goes;
    usual grades::a_prometheus_watches;
    usual grades::without_udp_it_is_d;
    usual grades::without_a_way_out_the_operator_says_f;
    usual grades::with_its_network_back_it_is_b;
    usual grades::behind_a_masquerade_the_internet_sees_d;
    usual groups::groups_authorise_each_other;
    usual groups::twenty_do_while_the_relay_restarts;
    usual bad_input::pods::a_wrong_network_name_is_told;
    usual bad_input::pods::a_namespace_that_is_not_admitted_is_told;
    usual bad_input::pods::bad_annotations_are_told_and_break_nothing;
    usual bad_input::objects::a_code_for_a_missing_network_says_so;
    usual bad_input::objects::impossible_numbers_and_changes_are_refused;
    usual bad_input::objects::a_network_name_is_taken_once;
    usual bad_input::objects::an_operator_without_rights_says_which;
    usual bad_input::objects::nothing_was_lost;
    usual expiry::codes_with_a_typo_or_expired_are_refused_locally;
    usual wire::the_wire_shows_nothing;
    usual hygiene::no_code_shows_anywhere;
    usual leaving::a_deleted_network_takes_all_along;
    usual leaving::nothing_but_kinds_is_left;
};

fn main() -> ExitCode {
    let word = wanted();
    let started = Instant::now();
    let tally = match tokio::runtime::Runtime::new()
        .map(|runtime| runtime.block_on(all(word.as_deref())))
    {
        Ok(Ok(tally)) => tally,
        Ok(Err(error)) => {
            println!("the e2e tier can't begin: {error:#}");
            Tally::of_a_bad_start()
        }
        Err(error) => {
            println!("no runtime: {error}");
            Tally::of_a_bad_start()
        }
    };
    tally.close(started.elapsed())
}

async fn all(word: Option<&str>) -> Result<Tally> {
    let mut world = World::new().await?;
    let mut tally = Tally::default();
    let mut broken: Option<&str> = None;
    println!("\nrunning {} steps", STEPS.len());
    for step in &STEPS {
        if word.is_some_and(|word| !step.name.contains(word)) {
            tally.filtered += 1;
        } else if let Some(broken) = broken {
            println!("test {} ... ignored, since {broken} failed", step.name);
            tally.skipped += 1;
        } else if one(step, &mut world).await {
            tally.passed += 1;
        } else {
            tally.failed += 1;
            broken = step.vital.then_some(step.name);
        }
    }
    world.end(tally.failed == 0);
    Ok(tally)
}

/// Runs a step; on failure saves what the cluster has to say about it.
async fn one(step: &Step, world: &mut World) -> bool {
    println!("\n--- {}", step.name);
    let started = Instant::now();
    let result = (step.run)(world).await;
    let took = seconds(started.elapsed());
    match result {
        Ok(()) => println!("test {} ... ok ({took})", step.name),
        Err(error) => {
            println!("{error:#}");
            let directory = evidence::save(world, step.name);
            println!("see {}", directory.display());
            println!("test {} ... FAILED ({took})", step.name);
            return false;
        }
    }
    true
}
