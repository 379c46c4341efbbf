# What the Beam job needs, without TensorFlow, in three images: the worker of any
# runner; `submit`, which adds Java and all of deploy/flink; `flex`, which is a flex
# template's launcher.
#
#   docker build --file deploy/docker/beam.Dockerfile --target worker \
#     --tag vaeline-worker:0.1.0 .
#
# pipeline.encode needs TensorFlow in its workers: --build-arg TENSORFLOW=1.
FROM gcr.io/dataflow-templates-base/python311-template-launcher-base:20230622_RC00 AS launcher

FROM apache/beam_python3.11_sdk:2.77.0 AS worker
RUN useradd --uid 1000 --create-home vaeline && install -d -o vaeline /data
WORKDIR /opt/vaeline
COPY requirements.lock deploy/docker/pipeline.txt ./
# Of pipeline.encode alone; with 1 all that follows has it.
ARG TENSORFLOW=
RUN sed -n 's/^\([a-z0-9.-]*==[^ ;]*\).*/\1/p' requirements.lock > pins.txt \
  && pip install --no-cache-dir --constraint pins.txt --requirement pipeline.txt \
    ${TENSORFLOW:+tensorflow}
COPY pipeline pipeline
COPY deploy/flink/worker_pool.py deploy/flink/worker_pool.py
# Nothing is staged, so the worker needs no environment of its own, which only root
# could make.
ENV PYTHONPATH=/opt/vaeline RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
USER 1000:1000

FROM worker AS submit
USER 0
# Debian keeps no older versions, which could be pinned.
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install --yes --no-install-recommends curl default-jre-headless \
  && rm -rf /var/lib/apt/lists/*
COPY deploy/flink deploy/flink
ENV VAELINE_CACHE=/opt/vaeline/cache VAELINE_FLINK_STATE=/tmp/flink \
  VAELINE_PYTHON=/usr/local/bin/python
RUN deploy/flink/local.sh job-server /opt/vaeline/job-server.jar \
  && chmod -R a+rX "$VAELINE_CACHE"
ENV JDK_JAVA_OPTIONS=@/opt/vaeline/deploy/flink/java.args
USER 1000:1000
ENTRYPOINT ["python", "-m"]
CMD ["pipeline.prepare", "--help"]

FROM worker AS flex
COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/
COPY deploy/dataflow/prepare.py deploy/dataflow/prepare.py
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/opt/vaeline/deploy/dataflow/prepare.py
ENTRYPOINT ["/opt/google/dataflow/python_template_launcher"]
