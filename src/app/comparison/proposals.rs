//! Compares proposals: by the invitee at the end of their chain.

use std::collections::HashMap;

use super::super::Result;
use super::{PAGE, Sides, Unlike, is_placed_by_people};
use crate::domain::difference::{Change, Difference, difference};
use crate::domain::ids::Id;
use crate::domain::proposal::{HistoryEntry, Proposal, ProposalStatus, What};
use crate::domain::prospect::Prospect;
use crate::store::{self, Db};

/// What is made anew with each record; which prospect it is for is compared apart.
const OWN: [&str; 5] = [
    "appointmentId",
    "conversationId",
    "prospectId",
    "createdAt",
    "updatedAt",
];

impl Sides<'_, '_, '_> {
    pub(super) async fn proposals(&mut self) -> Result<()> {
        let mut last = None;
        loop {
            let page = store::proposals::behind(self.source, last.as_ref(), PAGE).await?;
            let Some(end) = page.last() else { break };
            last = Some(end.id.clone());
            let others = by_invitee(self.rebuilt, &page).await?;
            for mine in &page {
                match &mine.current_invitee {
                    Some(uri) => self.proposal(mine, others.get(&uri.0)).await?,
                    None => self.found.proposals.by_hand += 1,
                }
            }
        }
        self.only_rebuilt_proposals().await
    }

    async fn proposal(&mut self, mine: &Proposal, rebuilt: Option<&Proposal>) -> Result<()> {
        let mine = &self.without_who_is_gone(mine);
        let mut fields = compared(Some(mine), rebuilt);
        fields.extend(self.another_person(mine, rebuilt).await?);
        if fields.is_empty() {
            self.found.proposals.equal += 1;
            return Ok(());
        }
        if let Some(rebuilt) = rebuilt {
            fields.retain(|field, _| !is_by_people(mine, rebuilt, field));
        }
        if fields.is_empty() || self.is_proposal_moved(mine, rebuilt).await? {
            self.found.proposals.edited += 1;
        } else {
            self.unlike_proposal(Some(mine), rebuilt, fields);
        }
        Ok(())
    }

    /// The proposal without the hosts' users that were deleted since, who are not rebuilt.
    fn without_who_is_gone(&self, mine: &Proposal) -> Proposal {
        let mut mine = mine.clone();
        for host in &mut mine.appointment.hosts {
            host.user_id.take_if(|id| !self.users.contains(id));
        }
        mine
    }

    /// The prospects they are for, when webhooks know those by different addresses.
    async fn another_person(
        &mut self,
        mine: &Proposal,
        rebuilt: Option<&Proposal>,
    ) -> Result<Difference> {
        let Some(rebuilt) = rebuilt.filter(|rebuilt| rebuilt.prospect_id != mine.prospect_id)
        else {
            return Ok(Difference::new());
        };
        let ours = store::prospects::find(self.source, &mine.prospect_id).await?;
        let theirs = store::prospects::find(self.rebuilt, &rebuilt.prospect_id).await?;
        let address = |p: Prospect| p.fold_key.map(|key| key.email_key);
        if ours.and_then(address) == theirs.and_then(address) {
            return Ok(Difference::new());
        }
        let change = Change {
            before: mine.prospect_id.as_str().into(),
            after: rebuilt.prospect_id.as_str().into(),
        };
        Ok(Difference::from([("prospectId".to_owned(), change)]))
    }

    async fn is_proposal_moved(
        &mut self,
        mine: &Proposal,
        rebuilt: Option<&Proposal>,
    ) -> Result<bool> {
        let prospect = store::prospects::find(self.source, &mine.prospect_id).await?;
        if prospect.is_some_and(|prospect| is_placed_by_people(&prospect)) {
            return Ok(true);
        }
        match rebuilt {
            Some(rebuilt) => self.is_chain_moved(rebuilt).await,
            None => Ok(false),
        }
    }

    async fn is_chain_moved(&mut self, rebuilt: &Proposal) -> Result<bool> {
        let id = [rebuilt.id.as_str()];
        let invitees = store::fold::places_of_proposals(self.rebuilt, id).await?;
        self.were_moved_by_people(&invitees).await
    }

    async fn only_rebuilt_proposals(&mut self) -> Result<()> {
        let mut last = None;
        loop {
            let page = store::proposals::behind(self.rebuilt, last.as_ref(), PAGE).await?;
            let Some(end) = page.last() else {
                return Ok(());
            };
            last = Some(end.id.clone());
            let others = by_invitee(self.source, &page).await?;
            for rebuilt in &page {
                let uri = rebuilt.current_invitee.as_ref();
                if uri.is_some_and(|uri| others.contains_key(&uri.0)) {
                    continue;
                }
                if self.is_chain_moved(rebuilt).await? {
                    self.found.proposals.edited += 1;
                } else {
                    self.unlike_proposal(None, Some(rebuilt), compared(None, Some(rebuilt)));
                }
            }
        }
    }

    fn unlike_proposal(
        &mut self,
        mine: Option<&Proposal>,
        rebuilt: Option<&Proposal>,
        mut fields: Difference,
    ) {
        for link in ["cancelUrl", "rescheduleUrl"] {
            // Whoever holds these links can use them: that they differ is enough to tell.
            if let Some(change) = fields.get_mut(link) {
                (change.before, change.after) = ("(a link)".into(), "(another link)".into());
            }
        }
        self.found.proposals.different += 1;
        self.found.tell(Unlike {
            record: "proposal",
            id: mine.map(|p| p.id.clone()),
            rebuilt_id: rebuilt.map(|p| p.id.clone()),
            fields,
        });
    }
}

/// The proposals of the other database whose chains hold the last invitees of these, by invitee.
async fn by_invitee(db: &mut Db<'_>, page: &[Proposal]) -> Result<HashMap<String, Proposal>> {
    let uris = page.iter().filter_map(|p| p.current_invitee.as_ref());
    let places = store::fold::places(db, uris.map(|uri| uri.0.as_str())).await?;
    let chains: Vec<(String, Id)> = places
        .into_iter()
        .filter_map(|place| Some((place.uri, Id::from_stored(place.proposal_id?))))
        .collect();
    let found = store::proposals::by_ids(db, chains.iter().map(|(_, id)| id)).await?;
    let found: HashMap<&Id, &Proposal> = found.iter().map(|p| (&p.id, p)).collect();
    let of_uri = |(uri, id): &(String, Id)| Some((uri.clone(), (*found.get(id)?).clone()));
    Ok(chains.iter().filter_map(of_uri).collect())
}

fn compared(mine: Option<&Proposal>, rebuilt: Option<&Proposal>) -> Difference {
    let (mine, rebuilt) = (mine.map(Proposal::view), rebuilt.map(Proposal::view));
    difference(mine.as_ref(), rebuilt.as_ref(), &OWN)
}

/// Whether people wrote this field, or it shows what they decided and no more.
fn is_by_people(mine: &Proposal, rebuilt: &Proposal, field: &str) -> bool {
    let decided = |entry: &&HistoryEntry| matches!(entry.what, What::Accepted | What::Rejected);
    match field {
        "status" => matches!(
            mine.appointment.status,
            ProposalStatus::Accepted | ProposalStatus::Rejected
        ),
        "history" => {
            let history = &mine.appointment.history;
            let undecided = history.iter().filter(|entry| !decided(entry));
            undecided.eq(&rebuilt.appointment.history)
        }
        _ => mine.edited.contains(field),
    }
}
