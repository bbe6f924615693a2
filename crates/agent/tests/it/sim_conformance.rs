//! The conformance suite on the simulator.

use super::conformance::{self, TestHost};
use super::rig::in_virtual_time;
use agent::host::sim::{SimConfig, SimHost, TokioClock};
use agent::host::{Block, Net, Vmm};
use model::Timestamp;
use std::sync::Arc;
use std::time::Duration;

struct Sim(SimHost);

impl TestHost for Sim {
    fn vmm(&self) -> &impl Vmm {
        &self.0
    }
    fn net(&self) -> &impl Net {
        &self.0
    }
    fn block(&self) -> &impl Block {
        &self.0
    }
    async fn kill(&self, instance: model::InstanceId) {
        self.0.kill(instance);
    }
}

fn on_the_simulator(test: impl AsyncFn(&Sim)) {
    for shutdown_time in [Duration::ZERO, Duration::from_secs(5)] {
        in_virtual_time(async {
            let config = SimConfig {
                boot_time: Duration::from_secs(3),
                shutdown_time,
                release_time: shutdown_time,
                ..SimConfig::default()
            };
            let clock = TokioClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
            test(&Sim(SimHost::new(config, Arc::new(clock)))).await;
        });
    }
}

#[test]
fn an_unknown_machine_is_absent_and_its_end_and_removal_succeed() {
    on_the_simulator(conformance::an_unknown_machine_is_absent_and_its_end_and_removal_succeed);
}

#[test]
fn a_started_machine_runs_until_it_is_ended() {
    on_the_simulator(conformance::a_started_machine_runs_until_it_is_ended);
}

#[test]
fn a_second_start_is_refused_and_harms_nothing() {
    on_the_simulator(conformance::a_second_start_is_refused_and_harms_nothing);
}

#[test]
fn the_power_button_turns_a_guest_off_and_a_reset_boots_it_again() {
    on_the_simulator(conformance::the_power_button_turns_a_guest_off_and_a_reset_boots_it_again);
}

#[test]
fn a_killed_machine_is_absent_and_can_be_started_again() {
    on_the_simulator(conformance::a_killed_machine_is_absent_and_can_be_started_again);
}

#[test]
fn the_console_outlives_the_machine_and_is_cut_to_the_limit() {
    on_the_simulator(conformance::the_console_outlives_the_machine_and_is_cut_to_the_limit);
}

#[test]
fn ensuring_twice_is_ensuring_once() {
    on_the_simulator(conformance::ensuring_twice_is_ensuring_once);
}

#[test]
fn a_port_that_is_not_there_cannot_be_ensured() {
    on_the_simulator(conformance::a_port_that_is_not_there_cannot_be_ensured);
}

#[test]
fn disks_and_interfaces_come_and_go_while_a_machine_runs() {
    on_the_simulator(conformance::disks_and_interfaces_come_and_go_while_a_machine_runs);
}

#[test]
fn a_volume_that_is_torn_out_is_free_at_once() {
    on_the_simulator(conformance::a_volume_that_is_torn_out_is_free_at_once);
}

#[test]
fn a_volume_in_use_grows_and_takes_other_limits() {
    on_the_simulator(conformance::a_volume_in_use_grows_and_takes_other_limits);
}

#[test]
fn a_machine_without_a_free_slot_says_so() {
    on_the_simulator(conformance::a_machine_without_a_free_slot_says_so);
}

#[test]
fn snapshots_are_taken_together_and_outlive_their_volumes() {
    on_the_simulator(conformance::snapshots_are_taken_together_and_outlive_their_volumes);
}

#[test]
fn a_fast_snapshot_is_kept_for_as_long_as_that_is_desired() {
    on_the_simulator(conformance::a_fast_snapshot_is_kept_for_as_long_as_that_is_desired);
}

#[test]
fn an_archived_snapshot_cannot_be_used_until_it_is_restored() {
    on_the_simulator(conformance::an_archived_snapshot_cannot_be_used_until_it_is_restored);
}

#[test]
fn a_volume_of_a_snapshot_is_used_whether_or_not_all_of_it_is_here() {
    on_the_simulator(conformance::a_volume_of_a_snapshot_is_used_whether_or_not_all_of_it_is_here);
}

#[test]
fn a_snapshot_of_no_volume_is_refused_and_one_that_is_not_there_is_removed() {
    on_the_simulator(conformance::a_snapshot_of_no_volume_is_refused_and_one_that_is_not_there_is_removed);
}

#[test]
fn an_encrypted_volume_opens_with_its_own_key_alone() {
    on_the_simulator(conformance::an_encrypted_volume_opens_with_its_own_key_alone);
}

#[test]
fn what_is_made_of_an_encrypted_volume_is_encrypted_too() {
    on_the_simulator(conformance::what_is_made_of_an_encrypted_volume_is_encrypted_too);
}

#[test]
fn a_snapshot_that_is_not_encrypted_becomes_an_encrypted_volume() {
    on_the_simulator(conformance::a_snapshot_that_is_not_encrypted_becomes_an_encrypted_volume);
}
