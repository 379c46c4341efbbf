# The trainer on CPUs, or with --build-arg DEVICE=gpu on NVIDIA GPUs.
#
#   docker build --file deploy/docker/trainer.Dockerfile --tag vaeline-trainer:0.1.0 .
FROM python:3.11.11-slim-bookworm
ARG DEVICE=cpu
RUN useradd --uid 1000 --create-home vaeline && install -d -o vaeline /data
WORKDIR /opt/vaeline
# The sources are copied later, so a change to them installs no package again.
COPY requirements.lock setup.py pyproject.toml README.md ./
# CUDA comes as wheels, in the versions that TensorFlow pins.
RUN sed -n 's/^\([a-z0-9.-]*==[^ ;]*\).*/\1/p' requirements.lock > pins.txt \
  && case "$DEVICE" in cpu) extra= ;; gpu) extra='[gpu]' ;; *) exit 2 ;; esac \
  && pip install --no-cache-dir --constraint pins.txt ".$extra"
COPY pipeline pipeline
COPY configs configs
COPY trainer trainer
ENV PYTHONPATH=/opt/vaeline
USER 1000:1000
ENTRYPOINT ["python", "-m"]
CMD ["trainer.launch", "--help"]
