//! Computes one appointment from the chain of bookings that reschedules made of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::invitee::{Cancellation, Host, InviteeFacts, InviteeUri};
use super::latest::{Latest, value_of};
use super::proposal::{
    Appointment, Decision, HistoryEntry, NoShow, ProposalCancellation, ProposalHost,
    ProposalStatus, Slot, Verdict, What,
};
use super::time::UtcMs;
use super::user::Directory;

/// Orders the invitees of one chain from the first booking to the last. Links decide; where they
/// say nothing, or contradict themselves, the time of booking does, then the URI. Invitees only
/// named by others take part, so that a link through a missing delivery still counts.
#[must_use]
pub fn chain_order(members: &BTreeMap<&InviteeUri, &InviteeFacts>) -> Vec<InviteeUri> {
    let mut after: HashMap<&InviteeUri, BTreeSet<&InviteeUri>> = HashMap::new();
    let mut open: HashMap<&InviteeUri, usize> = HashMap::new();
    for (uri, facts) in members {
        open.entry(uri).or_default();
        let forward = facts.new_invitee.iter().map(|new| (*uri, new));
        let backward = facts.old_invitee.iter().map(|old| (old, *uri));
        for (old, new) in forward.chain(backward) {
            if old != new && after.entry(old).or_default().insert(new) {
                *open.entry(new).or_default() += 1;
                open.entry(old).or_default();
            }
        }
    }
    topological(members, &after, open)
}

fn topological<'a>(
    members: &BTreeMap<&InviteeUri, &InviteeFacts>,
    after: &HashMap<&InviteeUri, BTreeSet<&'a InviteeUri>>,
    mut open: HashMap<&'a InviteeUri, usize>,
) -> Vec<InviteeUri> {
    let rank = |uri: &InviteeUri| members.get(uri).and_then(|facts| facts.booked_us);
    let mut order = Vec::with_capacity(open.len());
    while !open.is_empty() {
        // Without a cycle somebody has nothing before it. With one (only a forged payload makes
        // it) the least of all is taken, which is as good as any and the same every time.
        let free = open.iter().filter(|(_, n)| **n == 0).map(|(uri, _)| *uri);
        let next = free.min_by_key(|uri| (rank(uri), *uri));
        let next = next.or_else(|| open.keys().copied().min_by_key(|uri| (rank(uri), *uri)));
        let Some(next) = next else { break };
        open.remove(next);
        for successor in after.get(next).into_iter().flatten() {
            if let Some(n) = open.get_mut(successor) {
                *n = n.saturating_sub(1);
            }
        }
        order.push(next.clone());
    }
    order
}

/// Computes the appointment from its bookings, in chain order and never empty, and from what
/// people decided about it.
///
/// # Panics
/// When `chain` is empty.
#[must_use]
pub fn appointment(
    chain: &[(&InviteeUri, &InviteeFacts)],
    decisions: &[Decision],
    directory: &Directory,
) -> Appointment {
    let (tip, facts) = *chain.last().expect("a chain has at least one booking");
    let meeting = &facts.meeting;
    let slot = slot(facts);
    let links = value_of(facts.links.as_ref()).unwrap_or_default();
    let cancellation = facts.cancellation.as_ref().map(Latest::get);
    let no_show = present_no_show(facts);
    Appointment {
        status: status(tip, facts, no_show, decisions),
        title: title(chain),
        start_time: slot.start_time,
        end_time: slot.end_time,
        timezone: value_of(facts.profile.timezone.as_ref()),
        location: value_of(meeting.location.as_ref()),
        hosts: hosts(facts.hosts(), directory),
        guests: value_of(meeting.guests.as_ref()).unwrap_or_default(),
        answers: value_of(facts.answers.as_ref()).unwrap_or_default(),
        tracking: value_of(facts.tracking.as_ref()).unwrap_or_default(),
        cancellation: cancellation.map(cancellation_view),
        no_show,
        history: history(chain, decisions),
        cancel_url: links.cancel,
        reschedule_url: links.reschedule,
    }
}

fn status(
    tip: &InviteeUri,
    facts: &InviteeFacts,
    no_show: Option<NoShow>,
    decisions: &[Decision],
) -> ProposalStatus {
    if facts.cancellation.is_some() {
        return ProposalStatus::Canceled;
    }
    if no_show.is_some() {
        return ProposalStatus::NoShow;
    }
    let decided = decisions
        .iter()
        .rev()
        .find(|decision| decision.invitee.as_ref() == Some(tip));
    match decided.map(|decision| decision.verdict) {
        Some(Verdict::Accepted) => ProposalStatus::Accepted,
        Some(Verdict::Rejected) => ProposalStatus::Rejected,
        None => ProposalStatus::Pending,
    }
}

/// The youngest title in the chain: old payloads carry none.
fn title(chain: &[(&InviteeUri, &InviteeFacts)]) -> Option<String> {
    let mut titles = chain
        .iter()
        .rev()
        .map(|(_, facts)| facts.meeting.title.as_ref());
    titles.find_map(value_of)
}

fn slot(facts: &InviteeFacts) -> Slot {
    let time = |at: &Option<Latest<i64>>| value_of(at.as_ref()).map(UtcMs::from_us);
    Slot {
        start_time: time(&facts.meeting.start_us),
        end_time: time(&facts.meeting.end_us),
    }
}

fn hosts(hosts: &[Host], directory: &Directory) -> Vec<ProposalHost> {
    let view = |host: &Host| ProposalHost {
        name: host.name.clone(),
        email: host.email.clone(),
        user_id: directory.user_of(host).cloned(),
    };
    hosts.iter().map(view).collect()
}

fn cancellation_view(cancellation: &Cancellation) -> ProposalCancellation {
    ProposalCancellation {
        by: cancellation.by.clone(),
        name: cancellation.name.clone(),
        reason: cancellation.reason.clone(),
        at: cancellation.at_us.map(UtcMs::from_us),
    }
}

fn present_no_show(facts: &InviteeFacts) -> Option<NoShow> {
    let (at_us, is_mark) = *facts.no_show_timeline().last()?;
    is_mark.then(|| NoShow {
        at: UtcMs::from_us(at_us),
    })
}

/// What happened, oldest first; entries of the same moment stay in the order of the chain.
fn history(chain: &[(&InviteeUri, &InviteeFacts)], decisions: &[Decision]) -> Vec<HistoryEntry> {
    let mut entries = Vec::new();
    let mut previous: Option<&InviteeFacts> = None;
    for (_, facts) in chain {
        entries.push(booked_or_moved(previous, facts));
        entries.extend(
            facts
                .no_show_timeline()
                .into_iter()
                .map(|(at_us, is_mark)| {
                    let what = if is_mark {
                        What::NoShow
                    } else {
                        What::NoShowRemoved
                    };
                    HistoryEntry::new(what, Some(UtcMs::from_us(at_us)))
                }),
        );
        previous = Some(facts);
    }
    if let Some(cancellation) = previous.and_then(|facts| facts.cancellation.as_ref()) {
        entries.push(caused_by(
            HistoryEntry::new(What::Canceled, None),
            cancellation.get(),
        ));
    }
    entries.extend(decisions.iter().map(HistoryEntry::from));
    entries.sort_by_key(|entry| entry.at);
    entries
}

fn booked_or_moved(previous: Option<&InviteeFacts>, facts: &InviteeFacts) -> HistoryEntry {
    let at = facts.booked_us.map(UtcMs::from_us);
    let to = Some(slot(facts));
    let Some(previous) = previous else {
        return HistoryEntry {
            to,
            ..HistoryEntry::new(What::Booked, at)
        };
    };
    let moved = HistoryEntry {
        from: Some(slot(previous)),
        to,
        ..HistoryEntry::new(What::Moved, at)
    };
    match &previous.cancellation {
        Some(cancellation) => caused_by(moved, cancellation.get()),
        None => moved,
    }
}

fn caused_by(entry: HistoryEntry, cancellation: &Cancellation) -> HistoryEntry {
    HistoryEntry {
        at: entry.at.or(cancellation.at_us.map(UtcMs::from_us)),
        by: cancellation.by.clone(),
        name: cancellation.name.clone(),
        reason: cancellation.reason.clone(),
        ..entry
    }
}
