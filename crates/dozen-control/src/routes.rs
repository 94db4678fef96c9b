//! The route table, as it follows from the store.
//!
//! A table is a pure function of the store and of the holds in memory, so a restarted control
//! gives the router the same one again. An instance is in it when its launch is `serving`;
//! whether it answers this very moment is the router's to find out.

use std::net::{Ipv4Addr, SocketAddr};

use dozen_model::{
    image::Image,
    names::Domain,
    route_table::{Endpoint, EndpointAddress, RouteTable, StageRoute, StaticSite, Target},
};

use crate::{
    control::Control,
    error::ControlError,
    store::{LaunchRow, LaunchState, Purpose, StageRow},
};

impl Control {
    /// Gives the router the table of this moment and waits until it routes by it.
    pub(crate) fn publish(&self) -> Result<(), ControlError> {
        // Whoever has a name now may want a certificate for it.
        self.keeper.wake();
        self.router.publish(|generation| self.table(generation))
    }

    pub(crate) fn table(&self, generation: u64) -> Result<RouteTable, ControlError> {
        let stages = self.store.stages()?;
        let routes =
            stages.iter().filter(|stage| !stage.doomed).filter_map(|stage| self.route(stage).transpose());
        let mut table = RouteTable {
            generation,
            bare_hosts: vec![self.options.domain.clone()],
            stages: routes.collect::<Result<_, _>>()?,
        };
        if table.check().is_err() {
            // The router takes a table as a whole: one stage must not keep all others from it.
            let routes = std::mem::take(&mut table.stages);
            routes.into_iter().for_each(|route| add_if_usable(&mut table, route));
        }
        Ok(table)
    }

    /// Refuses a domain below the base domain: those are the names that dozen gives itself.
    ///
    /// # Errors
    /// [`ControlError::DomainReserved`].
    pub(crate) fn refuse_reserved(&self, domain: &Domain) -> Result<(), ControlError> {
        let base = &self.options.domain;
        if domain.as_str() == base || domain.as_str().ends_with(&format!(".{base}")) {
            return Err(ControlError::DomainReserved { domain: domain.clone() });
        }
        Ok(())
    }

    /// The domains of a stage that are routed. One that was given while the base domain was another
    /// one, and is now below it, rests.
    pub(crate) fn routed_domains(&self, stage: i64) -> Result<Vec<Domain>, ControlError> {
        let mut domains = self.store.domains(stage)?;
        domains.retain(|domain| self.refuse_reserved(domain).is_ok());
        Ok(domains)
    }

    /// Says which domains rest.
    pub(crate) fn tell_resting_domains(&self) -> Result<(), ControlError> {
        for stage in self.store.stages()? {
            for domain in self.store.domains(stage.key.id)? {
                if let Err(error) = self.refuse_reserved(&domain) {
                    tracing::warn!(app = %stage.key.app, stage = %stage.key.stage, "a domain is not routed: {error}");
                }
            }
        }
        Ok(())
    }

    fn route(&self, stage: &StageRow) -> Result<Option<StageRoute>, ControlError> {
        let Some(current) = stage.current else { return Ok(None) };
        let Some(release) = self.store.release(stage.key.id, current)? else { return Ok(None) };
        // A stage whose image is gone must not take the table of all others with it.
        let Ok(image) = self.image_of(&release) else { return Ok(None) };
        let target = match &image.static_root {
            Some(_) if stage.stopped => Target::Endpoints(Vec::new()),
            Some(root) => Target::Static(self.static_site(&image, root)),
            None => Target::Endpoints(self.endpoints(stage)?),
        };
        let own: Result<Domain, _> = self.automatic_host(&stage.key.app, &stage.key.stage).parse();
        let mut domains = self.routed_domains(stage.key.id)?;
        domains.extend(own);
        let web = image.processes.keys().any(|process| process.is_web());
        let wanted =
            web && !stage.stopped && self.wanted(stage, &image, &dozen_model::names::ProcessType::web()) > 0;
        let declared = image.manifest.for_stage(&stage.key.stage).router;
        Ok(Some(StageRoute {
            app: stage.key.app.clone(),
            stage: stage.key.stage.clone(),
            release: Some(current),
            domains,
            target,
            waiting: wanted,
            hold: self.hold_of(stage.key.id),
            hold_limit: declared.hold_limit(),
            policy: self.policy(stage, &image, declared),
        }))
    }

    fn static_site(&self, image: &Image, root: &str) -> StaticSite {
        let app = image.layers.iter().filter(|layer| layer.mounts.is_empty());
        StaticSite {
            layers: app.map(|layer| self.layers.path(&layer.digest)).collect(),
            root: root.into(),
            not_found: None,
        }
    }

    fn endpoints(&self, stage: &StageRow) -> Result<Vec<Endpoint>, ControlError> {
        let launches = self.store.open_launches(stage.key.id)?;
        let serves = |launch: &&LaunchRow| {
            launch.state == LaunchState::Serving
                && launch.purpose == Purpose::Service
                && launch.name.process.is_web()
        };
        let endpoint = |launch: &LaunchRow| {
            Some(Endpoint {
                id: launch.id.clone(),
                instance: launch.name.clone(),
                release: launch.release,
                address: EndpointAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, launch.port?))),
            })
        };
        Ok(launches.iter().filter(serves).filter_map(endpoint).collect())
    }
}

fn add_if_usable(table: &mut RouteTable, route: StageRoute) {
    let (app, stage) = (route.app.clone(), route.stage.clone());
    table.stages.push(route);
    if let Err(error) = table.check() {
        table.stages.pop();
        tracing::error!(%app, %stage, "a stage is not routed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use crate::stand::Stand;

    #[test]
    fn a_domain_that_came_below_the_base_domain_rests_and_takes_nobody_with_it() {
        let stand = Stand::new();
        stand.serve_release();
        for domain in ["blog.example.org", "blango.localhost", "other.localhost"] {
            stand.control.store.add_domain(stand.key.id, &domain.parse().unwrap()).unwrap();
        }
        let table = stand.control.table(1).unwrap();
        assert_eq!(table.check(), Ok(()));
        let domains: Vec<&str> = table.stages[0].domains.iter().map(|domain| domain.as_str()).collect();
        assert_eq!(domains, ["blog.example.org", "blango.localhost"]);
        assert_eq!(stand.control.probe_host(&stand.key), "blog.example.org");
    }

    #[test]
    fn a_stage_that_no_router_would_take_leaves_the_table_alone() {
        let stand = Stand::new();
        stand.serve_release();
        let good = stand.control.table(1).unwrap();
        let mut table = good.clone();
        super::add_if_usable(&mut table, good.stages[0].clone());
        assert_eq!(table, good);
    }
}
