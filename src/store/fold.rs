//! Loads the part of the state that deliveries concern, and writes back what changed.

mod places;

use std::collections::{BTreeSet, HashMap};

use super::counts::Change;
use super::error::Result;
use super::events::{self, Position};
use super::inserts::{Insert, Unwritten, new_and_changed};
use super::json;
use super::record::record;
use super::sql::{Arg, Db, Parts, args};
use super::{deliveries, merged, proposals, prospects, search, users};
use crate::domain::delivery::{Delivery, Standing};
use crate::domain::ids::Id;
use crate::domain::invitee::{InviteeFacts, InviteeUri};
use crate::domain::proposal::Proposal;
use crate::domain::prospect::Prospect;
use crate::domain::user::{Directory, User};
use crate::domain::world::{Invitee, Statement, World};
pub use places::{Place, places, places_of_proposals, places_of_prospects};

record! {
    struct InviteeRow {
        uri: String,
        proposal_id: Option<String>,
        prospect_id: Option<String>,
        owner_id: Option<String>,
        dismissed: bool,
        facts: String,
    }
}

/// The columns an [`InviteeRow`] is read from.
macro_rules! select_invitee {
    ($tail:literal) => {
        concat!(
            "SELECT uri, proposal_id, prospect_id, owner_id, dismissed, facts FROM invitee ",
            $tail
        )
    };
}

record! {
    struct FormRow {
        email_key: String,
        profile: String,
    }
}

/// What routing forms say, by address.
const FORMS: &str = "SELECT email_key, profile FROM routing_profile WHERE email_key IN {keys}";

/// Loads everything the statements concern, and everything of the `complete` prospects.
///
/// # Errors
/// [`super::Error::Database`], [`super::Error::Corrupt`].
pub async fn load(
    db: &mut Db<'_>,
    statements: &[&Statement],
    complete: &BTreeSet<Id>,
) -> Result<World> {
    let loaded = load_and_recognize(db, Vec::new(), statements, complete).await?;
    Ok(loaded.world)
}

/// What is known of what deliveries concern.
#[derive(Debug)]
pub struct Loaded {
    /// The records.
    pub world: World,
    /// The deliveries that stand for the events already.
    pub standing: HashMap<String, Standing>,
    /// Where the log stood.
    pub position: Option<Position>,
}

/// As [`load`], and with it which of the events are known already, by their natural `keys`: on
/// Postgres in one round trip.
///
/// # Errors
/// As [`load`].
pub async fn load_and_recognize(
    db: &mut Db<'_>,
    keys: Vec<&str>,
    statements: &[&Statement],
    complete: &BTreeSet<Id>,
) -> Result<Loaded> {
    let mut world = World::with_complete(complete.clone());
    let named = statements.iter().copied().flat_map(named_invitees);
    let named: BTreeSet<&str> = named.collect();
    let stated = addresses(&world, statements);
    let hosts = Hosts::of(&world, statements);
    // Most bookings are of people nobody knows yet, and this is all there is to read.
    let sets = [
        vec![(deliveries::STANDING, keys)],
        vec![(
            select_invitee!("WHERE uri IN {keys}"),
            named.into_iter().collect(),
        )],
        vec![(prospects::BY_ADDRESSES, list(&stated))],
        vec![(FORMS, list(&stated))],
        hosts.lookup(),
        vec![(events::POSITION, vec!["1"])],
    ];
    let (standing, invitees, prospects, forms, users, position) = db.fetch_in_all(sets).await?;
    load_chains(db, &mut world, invitees, complete).await?;
    add_prospects(&mut world, prospects::parsed(prospects)?);
    load_prospects(db, &mut world, statements, &stated).await?;
    let chains: BTreeSet<Id> = world
        .invitees
        .values()
        .filter_map(|invitee| invitee.proposal_id.clone())
        .collect();
    let mut found = proposals::by_ids(db, &chains).await?;
    found.extend(proposals::by_prospects(db, complete).await?);
    world.proposals.extend(
        found
            .into_iter()
            .map(|proposal| (proposal.id.clone(), proposal)),
    );
    add_forms(&mut world, forms)?;
    let more = addresses(&world, statements);
    let more = more.difference(&stated).map(String::as_str);
    add_forms(&mut world, db.fetch_in(FORMS, more).await?)?;
    world.directory = if world.invitees.is_empty() {
        directory(users)?
    } else {
        let hosts = Hosts::of(&world, statements);
        directory(db.fetch_in_each(hosts.lookup()).await?)?
    };
    Ok(Loaded {
        world,
        standing: deliveries::by_key(standing),
        position: position.into_iter().next(),
    })
}

/// Takes in the invitees that were found, and loads those of the same chains and of the `complete`
/// prospects.
async fn load_chains(
    db: &mut Db<'_>,
    world: &mut World,
    mut rows: Vec<InviteeRow>,
    complete: &BTreeSet<Id>,
) -> Result<()> {
    let ids = complete.iter().map(Id::as_str);
    rows.extend(
        db.fetch_in::<InviteeRow>(select_invitee!("WHERE prospect_id IN {keys}"), ids)
            .await?,
    );
    let chains: BTreeSet<String> = rows
        .iter()
        .filter_map(|row| row.proposal_id.clone())
        .collect();
    let by_chain = select_invitee!("WHERE proposal_id IN {keys}");
    rows.extend(
        db.fetch_in::<InviteeRow>(by_chain, chains.iter().map(String::as_str))
            .await?,
    );
    for row in rows {
        let facts = json::read(&row.facts, "an invitee's facts")?;
        let invitee = Invitee {
            facts,
            proposal_id: row.proposal_id.map(Id::from_stored),
            owner_id: row.owner_id.map(Id::from_stored),
            prospect_id: row.prospect_id.map(Id::from_stored),
            dismissed: row.dismissed,
            is_stored: true,
        };
        world.invitees.insert(InviteeUri(row.uri), invitee);
    }
    Ok(())
}

fn named_invitees(statement: &Statement) -> Vec<&str> {
    match statement {
        Statement::Invitee { uri, facts } => {
            let linked = [facts.old_invitee.as_ref(), facts.new_invitee.as_ref()];
            linked
                .into_iter()
                .flatten()
                .chain([uri])
                .map(|uri| uri.0.as_str())
                .collect()
        }
        Statement::Form { .. } => Vec::new(),
    }
}

fn add_prospects(world: &mut World, found: Vec<Prospect>) {
    let by_id = found
        .into_iter()
        .map(|prospect| (prospect.id.clone(), prospect));
    world.prospects.extend(by_id);
}

/// Loads the prospects of the invitees and the `complete` ones, and those with an address that was
/// not among those `stated`.
async fn load_prospects(
    db: &mut Db<'_>,
    world: &mut World,
    statements: &[&Statement],
    stated: &BTreeSet<String>,
) -> Result<()> {
    let of_chains = world
        .invitees
        .values()
        .filter_map(|invitee| invitee.prospect_id.as_ref());
    let named: BTreeSet<Id> = of_chains.chain(&world.complete).cloned().collect();
    add_prospects(world, prospects::by_ids(db, &named).await?);
    let keys = addresses(world, statements);
    let more = keys.difference(stated).map(String::as_str);
    add_prospects(world, prospects::by_addresses(db, more).await?);
    Ok(())
}

/// The addresses that folding may ask about: those of the deliveries, those that linked bookings
/// had so far, and those by which their prospects are known.
fn addresses(world: &World, statements: &[&Statement]) -> BTreeSet<String> {
    let stated = statements.iter().filter_map(|statement| match statement {
        Statement::Invitee { facts, .. } => facts.email_key(),
        Statement::Form { email_key, .. } => Some(email_key.clone()),
    });
    let known = world
        .invitees
        .values()
        .filter_map(|invitee| invitee.facts.email_key());
    let keys = world
        .prospects
        .values()
        .filter_map(|prospect| prospect.fold_key.as_ref());
    stated
        .chain(known)
        .chain(keys.map(|key| key.email_key.clone()))
        .collect()
}

fn add_forms(world: &mut World, rows: Vec<FormRow>) -> Result<()> {
    for row in rows {
        let profile = json::read(&row.profile, "a routing form's profile")?;
        world.forms.insert(row.email_key, profile);
    }
    Ok(())
}

/// By what the users are named who host what is stated, or what is known of it.
struct Hosts {
    uris: BTreeSet<String>,
    emails: BTreeSet<String>,
    ids: BTreeSet<String>,
}

impl Hosts {
    fn of(world: &World, statements: &[&Statement]) -> Self {
        let stated = statements.iter().filter_map(|statement| match statement {
            Statement::Invitee { facts, .. } => Some(&**facts),
            Statement::Form { .. } => None,
        });
        let known = world.invitees.values().map(|invitee| &invitee.facts);
        let all: Vec<&InviteeFacts> = known.chain(stated).collect();
        let hosts = || all.iter().flat_map(|facts| facts.hosts());
        let users = all
            .iter()
            .filter_map(|facts| facts.connection_user.as_ref());
        Self {
            uris: hosts().filter_map(|host| host.user_uri.clone()).collect(),
            emails: hosts()
                .filter_map(|host| host.email.as_deref())
                .map(|email| email.trim().to_lowercase())
                .collect(),
            ids: users.map(ToString::to_string).collect(),
        }
    }

    fn lookup(&self) -> Parts<'_> {
        users::by_names(list(&self.uris), list(&self.emails), list(&self.ids))
    }
}

fn list(names: &BTreeSet<String>) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn directory(users: Vec<users::Row>) -> Result<Directory> {
    let named = |user: User| (user.id, user.email, user.calendly_user_uri);
    Ok(Directory::new(users::parsed(users)?.into_iter().map(named)))
}

/// Archives the deliveries and writes back what they changed: what is left for
/// [`super::Tx::commit_with`] to insert is answered.
///
/// # Errors
/// [`super::Error::Conflict`] when somebody else changed a record since it was loaded: load again.
pub async fn write(db: &mut Db<'_>, world: &World, archived: &[Delivery]) -> Result<Unwritten> {
    let dirty = &world.dirty;
    let (prospects, gone): (Vec<&Id>, Vec<&Id>) = dirty
        .prospects
        .iter()
        .partition(|id| world.prospects.contains_key(*id));
    let (proposals, gone_proposals): (Vec<&Id>, Vec<&Id>) = dirty
        .proposals
        .iter()
        .partition(|id| world.proposals.contains_key(*id));
    let prospects: Vec<&Prospect> = prospects.iter().map(|id| &world.prospects[*id]).collect();
    let proposals: Vec<&Proposal> = proposals.iter().map(|id| &world.proposals[*id]).collect();
    // All counts of a batch are one change.
    let mut change = Change::default();
    change.leave_proposals(db, &gone_proposals).await?;
    change.leave_prospects(db, &gone).await?;
    let mut inserts = vec![deliveries::archive(archived, &mut change)];
    inserts.extend(prospects::upsert(db, &prospects, &mut change).await?);
    inserts.extend(proposals::upsert(db, &proposals, &mut change).await?);
    inserts.extend(upsert_invitees(world));
    inserts.push(upsert_forms(world));
    let counts = change.insert();
    if gone.is_empty() && gone_proposals.is_empty() {
        return Ok(Unwritten {
            rows: inserts,
            counts: Some(counts),
        });
    }
    inserts.push(counts);
    vacate(db, &gone).await?;
    db.insert(inserts).await?;
    let delete = "DELETE FROM proposal WHERE id IN {keys}";
    db.execute_in(delete, gone_proposals.into_iter().map(Id::as_str))
        .await?;
    let delete = "DELETE FROM prospect WHERE id IN {keys}";
    search::forget(db, &gone).await?;
    db.execute_in(delete, gone.into_iter().map(Id::as_str))
        .await?;
    merged::note(db, &world.merged).await?;
    Ok(Unwritten::default())
}

/// Has prospects that go give up their address: a new one may take it, and must be there before
/// they are deleted, because bookings move to it.
async fn vacate(db: &mut Db<'_>, gone: &[&Id]) -> Result<()> {
    let sql = "UPDATE prospect SET email_key = id, fold_email_key = NULL WHERE id IN {keys}";
    db.execute_in(sql, gone.iter().map(|id| id.as_str()))
        .await?;
    Ok(())
}

fn upsert_invitees(world: &World) -> [Insert; 2] {
    let row = |uri: &InviteeUri| -> (bool, Vec<Arg>) {
        let invitee = &world.invitees[uri];
        let row = args![
            uri.0.as_str(),
            invitee.proposal_id.as_ref(),
            invitee.prospect_id.as_ref(),
            invitee.owner_id.as_ref(),
            invitee.dismissed,
            json::write(&invitee.facts),
        ];
        (!invitee.is_stored, row)
    };
    let head = "INSERT INTO invitee (uri, proposal_id, prospect_id, owner_id, dismissed, facts)";
    let tail = "ON CONFLICT (uri) DO UPDATE SET proposal_id = excluded.proposal_id, \
        prospect_id = excluded.prospect_id, owner_id = excluded.owner_id, \
        dismissed = excluded.dismissed, facts = excluded.facts";
    new_and_changed(head, tail, world.dirty.invitees.iter().map(row))
}

fn upsert_forms(world: &World) -> Insert {
    let row = |key: &String| args![key.as_str(), json::write(&world.forms[key])];
    Insert {
        head: "INSERT INTO routing_profile (email_key, profile)",
        tail: "ON CONFLICT (email_key) DO UPDATE SET profile = excluded.profile",
        rows: world.dirty.forms.iter().map(row).collect(),
    }
}

/// Lets later deliveries about a prospect's bookings know that a person deleted it.
///
/// # Errors
/// [`super::Error::Database`].
pub async fn dismiss_prospect(db: &mut Db<'_>, prospect: &Id) -> Result<()> {
    let sql = "UPDATE invitee SET dismissed = $1, prospect_id = NULL WHERE prospect_id = $2";
    db.execute(sql, args![true, prospect]).await?;
    Ok(())
}

/// Moves a prospect's bookings to another one.
///
/// # Errors
/// [`super::Error::Database`].
pub async fn move_bookings(db: &mut Db<'_>, from: &Id, to: &Id) -> Result<()> {
    let sql = "UPDATE invitee SET prospect_id = $1 WHERE prospect_id = $2";
    db.execute(sql, args![to, from]).await?;
    Ok(())
}
