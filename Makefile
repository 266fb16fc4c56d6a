# Pleura's commands. `make help` lists them; README.md and docs/operation.md say more.
#
# Two virtual environments: .venv runs the portal and stays small; .venv-test has what tests, lint
# and training need. A stamp file in each remembers what it was installed from.

VENV := .venv
TEST_VENV := .venv-test
FIND_PYTHON := for p in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; exit; }; done
PIP := -m pip --disable-pip-version-check install -qq -c constraints.txt
MANIFEST := pyproject.toml constraints.txt
# Training's packages: 6 GB. Left out by PLEURA_SKIP_TORCH=1 or where the disk is short.
TORCH_GIGABYTES := 10
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run demo test lint types lock secrets clean

help: ## this list
	@echo "Pleura: finds, outlines and measures pneumothorax on chest X-rays (research use)."
	@echo
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1 | \2/p' Makefile | awk -F'|' '{printf "%-15s%s\n", $$1, $$2}'
	@echo
	@echo "  make run ARGS='--port 9000 --segment-workers 2' passes options on;"
	@echo "  '.venv/bin/python -m portal --help' lists the portal's other commands."

run: $(VENV)/.installed ## set up what is missing, start everything, print the address
	@exec $(VENV)/bin/python -m portal up $(ARGS)

demo: $(VENV)/.installed ## the same in var-demo/, filled with synthetic X-rays (and real ones where present)
	@export PLEURA_DATA_DIR="$${PLEURA_DATA_DIR:-var-demo}"; exec $(VENV)/bin/python -m portal demo $(ARGS)

test: $(TEST_VENV)/.installed $(TEST_VENV)/.torch $(TEST_VENV)/.browser ## run the whole suite
	@$(TEST_VENV)/bin/python -m pytest $(ARGS)

lint: $(TEST_VENV)/.installed ## style and the arrows between packages
	@$(TEST_VENV)/bin/ruff check .
	@$(TEST_VENV)/bin/ruff format --check .
	@$(TEST_VENV)/bin/lint-imports

types: $(TEST_VENV)/.installed $(TEST_VENV)/.torch ## mypy --strict
	@if grep -qs present $(TEST_VENV)/.torch; then $(TEST_VENV)/bin/mypy; \
	else echo "types: torch is not installed: ml is left out."; $(TEST_VENV)/bin/mypy -p portal -p worker; fi

lock: ## install the newest versions that fit and write them to constraints.txt
	@rm -rf .venv-lock && $(MAKE) --no-print-directory .venv-lock/bin/python
	@.venv-lock/bin/python -m pip --disable-pip-version-check install -qq -e '.[portal,embedded,worker-cpu,train,test,lint]'
	@{ echo "# Versions that run, test, lint and train Pleura together; made by 'make lock'."; \
	   .venv-lock/bin/python -m pip freeze --exclude-editable; } > constraints.txt
	@rm -rf .venv-lock && wc -l constraints.txt

secrets: $(VENV)/.installed ## make the secret files of docker-compose.yml, once
	@if [ -e secrets ]; then echo "secrets/ is there already and was left alone."; exit 1; fi
	@umask 077; mkdir secrets; cd secrets; \
	word() { ../$(VENV)/bin/python -c 'import secrets; print(secrets.token_urlsafe(33), end="")'; }; \
	word > postgres_password; word > redis_password; word > secret_key; word > worker_token; \
	printf 'postgresql+psycopg://pleura:%s@postgres/pleura' "$$(cat postgres_password)" > database_url; \
	printf 'redis://pleura:%s@redis:6379/0' "$$(cat redis_password)" > redis_url; \
	../$(VENV)/bin/python -m portal new-key-ring > key_ring; \
	chmod 0444 *; ls
	@echo "secrets/ holds all keys of the installation: keep a copy of it apart from the backups."

clean: ## remove both environments and caches; var/ and var-demo/ (data and keys) stay
	@rm -rf $(VENV) $(TEST_VENV) .venv-lock build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
	@for kept in var var-demo; do if [ -d $$kept ]; then echo "$$kept/ holds data and keys and was kept."; fi; done

%/bin/python:
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
		echo "Pleura needs Python 3.11 or newer. On Debian or Ubuntu: apt install python3 python3-venv" >&2; exit 1; fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$$python can't make virtual environments. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; fi; \
	echo "making $* with $$("$$python" --version)"; "$$python" -m venv $*

$(VENV)/.installed: $(MANIFEST) | $(VENV)/bin/python
	@echo "installing the portal and a CPU worker (about 1 GB; two minutes) ..."
	@$(VENV)/bin/python $(PIP) -e '.[portal,embedded,worker-cpu]'
	@touch $@

$(TEST_VENV)/.installed: $(MANIFEST) | $(TEST_VENV)/bin/python
	@echo "installing what the tests need ..."
	@$(TEST_VENV)/bin/python $(PIP) -e '.[portal,embedded,worker-cpu,test,lint]'
	@rm -f $(TEST_VENV)/.torch
	@touch $@

# 'present' or 'absent': tests marked torch skip where it is absent.
$(TEST_VENV)/.torch: $(TEST_VENV)/.installed
	@free=$$(df -Pk . | awk 'NR == 2 {print int($$4 / 1048576)}'); \
	if $(TEST_VENV)/bin/python -c 'import torch, torchvision, segmentation_models_pytorch' 2>/dev/null; then echo present > $@; \
	elif [ "$$PLEURA_SKIP_TORCH" = 1 ]; then \
		echo "torch is left out (PLEURA_SKIP_TORCH=1): the training tests skip."; \
	elif [ "$$free" -lt $(TORCH_GIGABYTES) ]; then \
		echo "torch is left out ($$free GB free, $(TORCH_GIGABYTES) GB wanted): the training tests skip."; \
	else echo "installing torch for the training tests (6 GB; some minutes) ..."; \
		if $(TEST_VENV)/bin/python $(PIP) -e '.[train]'; then echo present > $@; \
		else echo "torch could not be installed: the training tests skip."; fi; fi

# Pages are tested in a real browser. Installed only where that is allowed; else those tests skip.
$(TEST_VENV)/.browser: | $(TEST_VENV)/bin/python
	@if command -v chromium chromium-browser google-chrome >/dev/null 2>&1; then touch $@; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing Chromium for the browser tests ..."; \
		if { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends chromium; } >/dev/null; \
		then touch $@; else echo "Chromium could not be installed: the browser tests skip."; fi; \
	else echo "Chromium is missing (on Debian: apt install chromium): the browser tests skip."; fi
