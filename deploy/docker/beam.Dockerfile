# Three images for the Beam job, without TensorFlow: `worker`, for any runner; `submit`,
# which adds Java and all of deploy/flink; `flex`, the launcher of a flex template.
#
#   docker build --file deploy/docker/beam.Dockerfile --target worker \
#     --tag vaeline-worker:0.1.0 .
#
# Workers of pipeline.encode need TensorFlow: --build-arg TENSORFLOW=1.
FROM gcr.io/dataflow-templates-base/python311-template-launcher-base:20230622_RC00 AS launcher

FROM apache/beam_python3.11_sdk:2.77.0 AS worker
RUN useradd --uid 1000 --create-home vaeline && install -d -o vaeline /data
WORKDIR /opt/vaeline
COPY requirements.lock deploy/docker/pipeline.txt ./
# Only pipeline.encode needs TensorFlow. With 1, all three images have it.
ARG TENSORFLOW=
RUN sed -n 's/^\([a-z0-9.-]*==[^ ;]*\).*/\1/p' requirements.lock > pins.txt \
  && pip install --no-cache-dir --constraint pins.txt --requirement pipeline.txt \
    ${TENSORFLOW:+tensorflow}
COPY pipeline pipeline
COPY deploy/flink/worker_pool.py deploy/flink/worker_pool.py
# Only root could make an environment for a worker. Beam stages no packages, so a worker
# needs no environment of its own.
ENV PYTHONPATH=/opt/vaeline RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
USER 1000:1000

FROM worker AS submit
USER 0
# No version is pinned, because Debian removes older versions.
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
