# Unmodified lm-eval, for the `eval` profile of compose.vllm.yaml.
FROM python:3.12.12-slim-bookworm
WORKDIR /results
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
COPY requirements/lm-eval.txt /requirements.txt
RUN pip install --require-hashes --no-deps -r /requirements.txt
RUN useradd --system --uid 10001 --create-home lm-eval \
    && install --directory --owner=lm-eval /results /cache
USER 10001
ENV HF_HOME=/cache PYTHONUNBUFFERED=1
ENTRYPOINT ["lm_eval"]
