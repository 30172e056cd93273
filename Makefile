# What one does every day with docker-compose.yml and with the checkout. `make` alone lists it.

COMPOSE := $(shell docker compose version > /dev/null 2>&1 && echo docker compose || echo docker-compose)
BUN := $(shell command -v bun > /dev/null 2>&1 && echo bun || echo npx --yes bun@1.4.4)
# One service, for logs: make logs SERVICE=nginx
SERVICE ?=

.PHONY: help up down update ps logs key seed doctor test check bench clean
.DEFAULT_GOAL := help

help: ## what there is
	@awk -F ':.*## ' '/^[a-z.]+:.*## /{ printf "  make %-8s %s\n", $$1, $$2 }' Makefile

.env: .env.example ## passwords and settings of docker-compose.yml, random where they are empty; never overwritten
	@test ! -e .env || { touch .env; exit 0; }; \
	umask 077 && while IFS= read -r line; do \
	  case $$line in *[A-Z]=) printf '%s%s\n' "$$line" "$$(openssl rand -hex 32)" ;; *) printf '%s\n' "$$line" ;; esac; \
	done < .env.example > .env.new && mv .env.new .env && echo 'made .env: look into it, and keep it out of git'

up: .env ## start everything: two collectors behind nginx, ClickHouse, Redis, Postgres, Prometheus, Grafana
	$(COMPOSE) build
	$(COMPOSE) up -d
	@echo 'Events: http://127.0.0.1:8080 (BALANCER_PORT), Grafana: http://127.0.0.1:3001 (admin, GRAFANA_ADMIN_PASSWORD in .env).'
	@echo 'Keys: make key TENANT=acme WORKSPACE=web'

down: ## stop everything; volumes and events stay
	$(COMPOSE) down

update: .env ## build again and replace one collector after the other, while the other one takes the events
	$(COMPOSE) build
	$(COMPOSE) up -d --no-deps --force-recreate collector-1
	@$(call healthy,collector-1)
	$(COMPOSE) up -d --no-deps --force-recreate collector-2
	@$(call healthy,collector-2)

ps: ## what runs, and how it is
	$(COMPOSE) ps

logs: ## the newest lines, and those to come (SERVICE=nginx for one)
	$(COMPOSE) logs --tail=100 -f $(SERVICE)

key: ## a new workspace and its keys: TENANT=… WORKSPACE=… and, for other limits, TIER=…
	@test -n "$(TENANT)" && test -n "$(WORKSPACE)" || { echo 'make key TENANT=acme WORKSPACE=web [TIER=pro]'; exit 2; }
	$(COMPOSE) exec collector-1 bun src/main.ts provision --tenant "$(TENANT)" --workspace "$(WORKSPACE)" $(if $(TIER),--tier "$(TIER)")

seed: ## a plausible week of a shop's events, sent through nginx
	$(COMPOSE) exec -T collector-1 bun src/main.ts seed --url http://nginx

doctor: ## what is wrong, and how to mend it
	$(COMPOSE) exec -T collector-1 bun src/main.ts doctor

test: ## all tests, without Docker
	$(BUN) run test

check: ## format, lint, types
	$(BUN) run check

bench: ## the benchmarks
	$(BUN) run bench

clean: ## stop everything and remove its volumes: all events, keys and dashboards (asks first)
	@printf 'This removes all events, keys and settings of %s. Type yes: ' "$$(pwd)"; read -r answer; test "$$answer" = yes
	$(COMPOSE) down --volumes

# Waits, two minutes at the most.
healthy = id=$$($(COMPOSE) ps -q $(1)); for second in $$(seq 120); do \
  test "$$(docker inspect -f '{{.State.Health.Status}}' "$$id")" = healthy && exit 0; sleep 1; done; \
  echo '$(1) does not become healthy: make logs SERVICE=$(1)'; exit 1
