//! Compares prospects: by the key with which webhooks find them, else by id.

use super::super::Result;
use super::{PAGE, Sides, Unlike, is_placed_by_people};
use crate::domain::difference::{Difference, difference};
use crate::domain::prospect::Prospect;
use crate::store;

/// What is made anew with each record.
const OWN: [&str; 3] = ["id", "createdAt", "updatedAt"];

impl Sides<'_, '_, '_> {
    pub(super) async fn prospects(&mut self) -> Result<()> {
        let mut last = None;
        loop {
            let page = store::prospects::behind(self.source, last.as_ref(), PAGE).await?;
            let Some(end) = page.last() else { break };
            last = Some(end.id.clone());
            let others = candidates(self.rebuilt, &page).await?;
            for mine in &page {
                self.prospect(mine, counterpart(mine, &others)).await?;
            }
        }
        self.only_rebuilt_prospects().await
    }

    async fn prospect(&mut self, mine: &Prospect, rebuilt: Option<&Prospect>) -> Result<()> {
        if mine.fold_key.is_none() {
            self.found.prospects.by_hand += 1;
            return Ok(());
        }
        let mut fields = compared(Some(mine), rebuilt);
        if fields.is_empty() {
            self.found.prospects.equal += 1;
            return Ok(());
        }
        fields.retain(|field, _| rebuilt.is_none() || !mine.edited.contains(field));
        let by_people = fields.is_empty()
            || is_placed_by_people(mine)
            || self.is_prospect_moved(rebuilt).await?;
        if by_people {
            self.found.prospects.edited += 1;
        } else {
            self.unlike_prospect(Some(mine), rebuilt, fields);
        }
        Ok(())
    }

    async fn is_prospect_moved(&mut self, rebuilt: Option<&Prospect>) -> Result<bool> {
        let Some(prospect) = rebuilt else {
            return Ok(false);
        };
        let id = [prospect.id.as_str()];
        let invitees = store::fold::places_of_prospects(self.rebuilt, id).await?;
        self.were_moved_by_people(&invitees).await
    }

    async fn only_rebuilt_prospects(&mut self) -> Result<()> {
        let mut last = None;
        loop {
            let page = store::prospects::behind(self.rebuilt, last.as_ref(), PAGE).await?;
            let Some(end) = page.last() else {
                return Ok(());
            };
            last = Some(end.id.clone());
            let others = candidates(self.source, &page).await?;
            for rebuilt in page.iter().filter(|p| counterpart(p, &others).is_none()) {
                // A form never goes unanswered by a prospect, unless a person deletes it.
                if rebuilt.form_only || self.is_prospect_moved(Some(rebuilt)).await? {
                    self.found.prospects.edited += 1;
                } else {
                    self.unlike_prospect(None, Some(rebuilt), compared(None, Some(rebuilt)));
                }
            }
        }
    }

    fn unlike_prospect(
        &mut self,
        mine: Option<&Prospect>,
        rebuilt: Option<&Prospect>,
        fields: Difference,
    ) {
        self.found.prospects.different += 1;
        self.found.tell(Unlike {
            record: "prospect",
            id: mine.map(|p| p.id.clone()),
            rebuilt_id: rebuilt.map(|p| p.id.clone()),
            fields,
        });
    }
}

/// The prospects of the other database that may be the counterparts of these.
async fn candidates(db: &mut store::Db<'_>, page: &[Prospect]) -> Result<Vec<Prospect>> {
    let keys = page.iter().filter_map(|p| p.fold_key.as_ref());
    let keys = keys.map(|key| key.email_key.as_str());
    let mut found = store::prospects::by_addresses(db, keys).await?;
    found.extend(store::prospects::by_ids(db, page.iter().map(|p| &p.id)).await?);
    Ok(found)
}

fn counterpart<'a>(mine: &Prospect, others: &'a [Prospect]) -> Option<&'a Prospect> {
    let same_key = |p: &&Prospect| mine.fold_key.is_some() && p.fold_key == mine.fold_key;
    let by_key = others.iter().find(same_key);
    by_key.or_else(|| others.iter().find(|p| p.id == mine.id))
}

fn compared(mine: Option<&Prospect>, rebuilt: Option<&Prospect>) -> Difference {
    let (mine, rebuilt) = (mine.map(Prospect::view), rebuilt.map(Prospect::view));
    difference(mine.as_ref(), rebuilt.as_ref(), &OWN)
}
